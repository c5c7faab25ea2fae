"""Search for the image whose features explain what was sent: maximum likelihood with a prior."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.classes import Classes
from splitveil.attacks.evidence import Evidence, gather, grant, in_shape, observed
from splitveil.attacks.guesses import Guesses
from splitveil.attacks.optimise.batched_adam import BatchedAdam
from splitveil.attacks.optimise.batched_lbfgs import BatchedLBFGS
from splitveil.attacks.optimise.fidelity import fidelity_of
from splitveil.attacks.optimise.gaussian_prior import GaussianPrior
from splitveil.attacks.optimise.minimise import Optimiser
from splitveil.attacks.optimise.objective import Objective, Problems, doubled
from splitveil.attacks.optimise.search import Plan, Search, Starts
from splitveil.attacks.optimise.tuning import Choice, choices, tuned
from splitveil.errors import BadInput, BadPlan, KnowledgeMissing
from splitveil.nets import evaluating
from splitveil.partition.layout import Layout
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.threat import Observation, QueryFree, WhiteBox

_WIDEST_PRIOR = 2**14
_FEWEST = 2

Prior = Literal["chosen", "gaussian", "none", "variation"]
Method = Literal["adam", "lbfgs"]


@dataclass(frozen=True, eq=False)
class Searching(Reconstructor):
    """Searches every observation anew, with the weights that served best on auxiliary targets.

    `random` (k, d) are targets of the attacker's own to start from; `errors` (choices, marks) are
    those of `tuned` on held-out auxiliary targets, empty where none were held out.
    """

    head: nn.Module
    release: Release | None
    example: Tensor
    prior: GaussianPrior | None
    guesses: Guesses
    random: Tensor
    restarts: int
    plan: Plan
    choice: Choice
    errors: Tensor
    classes: Classes
    layout: Layout
    shape: tuple[int, ...]

    def __call__(self, observation: Observation, rng: Rng) -> Targets:
        return self.noted(observation, rng)[0]

    def noted(self, observation: Observation, rng: Rng) -> tuple[Targets, tuple[str, ...]]:
        found = self.search(observation)
        return in_shape(found.x.float(), self.shape), found.notes

    def search(self, observation: Observation) -> Search:
        """The reconstructions, flat, with the objective, steps and outcome of each.

        Raises:
            BadInput: if the observation does not fit, or the head passes no usable gradient.
        """
        mean, rows = observed(observation, self.layout, self.classes, self.example.device)
        objective = self.objective(observation.z.detach().to(mean))
        starts = self.starts(mean, rows)
        images = torch.arange(len(mean), device=mean.device)
        weights = torch.ones(2, len(mean), dtype=torch.float64, device=mean.device)
        problems = Problems(
            images, rows, self.choice.variation * weights[0], self.choice.gaussian * weights[1]
        )
        if not len(mean):
            return _nothing(starts)
        with evaluating(objective.head):
            few, first = images[:_FEWEST], starts.x[:_FEWEST]
            objective.check(first.flatten(0, 1), few.repeat_interleave(first.shape[1]))
            return self.plan.search(objective, problems, starts)

    def objective(self, sends: Tensor) -> Objective:
        """What is minimised for sends (n, sends, f)."""
        head, dtype = self.head, torch.float32
        if isinstance(self.plan.optimiser, BatchedLBFGS):
            head, dtype = doubled(head, self.random[:1].unflatten(1, self.shape))
        fidelity = fidelity_of(self.release, sends.to(dtype), self.example.to(dtype), self.layout)
        prior = None if self.prior is None else self.prior.to(torch.float64)
        return Objective(head, fidelity, prior, self.shape, dtype)

    def starts(self, z: Tensor, rows: Tensor) -> Starts:
        """The best linear guess, the class mean, the other linear guess, then random targets."""
        if len(z) == 1:  # one row alone takes other kernels, whose last bits differ
            pair = self.starts(z.repeat(2, 1), rows.repeat(2))
            return Starts(pair.x[:1], pair.coarse)
        guesses = self.guesses(z, rows)
        mean = self.guesses.centre(rows)
        random = self.random.expand(len(z), *self.random.shape)
        x = torch.cat([guesses[:, :1], mean, guesses[:, 1:], random], 1)
        coarse = (False, True, *[False] * (guesses.shape[1] - 1), *[True] * random.shape[1])
        return Starts(x[:, : self.restarts], coarse[: self.restarts])


@dataclass(frozen=True, kw_only=True)
class Likelihood(Attack):
    """Search for the target whose features make what was sent most likely, given a prior.

    x̂ = argmin_x -log p(z | x) / f + α TV(x) + β (x - m_y)ᵀC⁻¹(x - m_y) / 2f over images in
    [0, 1]. The likelihood is the release's where the attacker knows it: of Gaussian noise, of the
    cell a rounded value fell into, of both, or any density with a gradient, joint over several
    sends; no noise is added to candidates. Elsewhere it is the squared distance in standard
    deviations of each channel. Weights and the number of steps are what rebuilds `tuning`
    auxiliary targets best from guesses that left them out; `prior` restricts them to one form, and
    `weight` fixes it.

    Starts are the best linear inversion, the class mean, the other linear inversion and random
    auxiliary targets, those without detail on coarser pixels first. Of `restarts` of them the one
    with the least objective is the answer. Images and restarts are searched in one batch, and none
    moves another beyond rounding.

    It finds the likeliest image, not the mean of likely ones: where z leaves much open, its
    squared error is above a decoder's. A large misfit that remains says that the search failed.

    Knowledge: white-box; no queries. Cost: 3 forward passes of the head a step, restart and image,
    after about 10 `tuning` such searches; `chunk` rows at a time, measured if None, and then
    answers repeat to rounding only.
    """

    requires: ClassVar[type[QueryFree]] = WhiteBox
    reference: ClassVar[str] = (
        "He, Zhang & Lee 2019; Rudin, Osher & Fatemi 1992; Liu & Nocedal 1989; Bertsekas 1982"
    )

    optimiser: Method = "adam"
    prior: Prior = "chosen"
    weight: float | None = None
    restarts: int = 4
    steps: int | None = None
    factors: tuple[int, ...] = (4, 2)
    tuning: int = 8
    samples: int = 2000
    chunk: int | None = None

    def __post_init__(self) -> None:
        if self.optimiser not in get_args(Method) or self.prior not in get_args(Prior):
            raise BadPlan(
                f"optimiser must be one of {get_args(Method)} and prior one of {get_args(Prior)}, "
                f"got '{self.optimiser}' and '{self.prior}'"
            )
        if self.restarts < 1 or self.tuning < 0 or self.samples < 4:
            raise BadPlan(f"restarts must be at least 1, tuning 0 and samples 4: {self}")
        if (self.steps is not None and self.steps < 1) or (
            self.chunk is not None and self.chunk < 1
        ):
            raise BadPlan(f"steps and chunk must be at least 1: {self}")
        if self.weight is not None and not (
            0 <= self.weight < float("inf") and self.prior in ("gaussian", "variation")
        ):
            raise BadPlan(
                f"weight belongs to a gaussian or variation prior and is not negative: {self}"
            )

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        grant(self, knowledge)
        if not isinstance(knowledge, WhiteBox):
            raise KnowledgeMissing(f"{type(knowledge).__name__} grants no head to search through")
        found = gather(self, knowledge, rng, limit=self.samples)
        self._refuse(found)
        guesses, left_out = Guesses.learn(found, rng.child("guesses"))
        order = torch.randperm(len(found.x), generator=rng.child("held out").torch())
        order = order.to(found.x.device)
        held, rest = order[: self._held(len(order))], order[self._held(len(order)) :]
        random = torch.randint(len(rest), (self.restarts,), generator=rng.child("random").torch())
        fitted = Searching(
            knowledge.head,
            knowledge.release if knowledge.knows_defence else None,
            found.z,
            self._prior(found.take(rest)),
            guesses,
            found.x[rest[random.to(rest.device)]],
            self.restarts,
            Plan(self._optimiser(), self.factors, self.chunk),
            Choice(0.0, 0.0, self._optimiser().steps),
            found.x.new_zeros(0, 0, dtype=torch.float64),
            found.classes,
            found.layout,
            found.shape,
        )
        return self._tuned(fitted, found, held, left_out[held, 0])

    def _tuned(self, fitted: Searching, found: Evidence, held: Tensor, start: Tensor) -> Searching:
        objective = fitted.objective(found.z[held, None])
        menu = choices(
            self.prior,
            self.weight,
            nats=objective.fidelity.nats,
            image=len(found.shape) == 3,
            steps=fitted.plan.optimiser.steps,
        )
        menu = tuple(c for c in menu if fitted.prior is not None or not c.gaussian)
        if len(held) == 0 or self.prior == "none" or self.weight is not None:
            return replace(fitted, choice=menu[0])
        with evaluating(objective.head):
            first = start[:_FEWEST]
            objective.check(first, torch.arange(len(first), device=first.device))
            choice, errors = tuned(
                fitted.plan, objective, found.rows[held], found.x[held], start, menu
            )
        optimiser = replace(fitted.plan.optimiser, steps=choice.steps)  # type: ignore[type-var]
        return replace(
            fitted, choice=choice, errors=errors, plan=replace(fitted.plan, optimiser=optimiser)
        )

    def _held(self, n: int) -> int:
        return min(self.tuning, n // 4)

    def _optimiser(self) -> Optimiser:
        if self.optimiser == "adam":
            return BatchedAdam() if self.steps is None else BatchedAdam(steps=self.steps)
        return BatchedLBFGS() if self.steps is None else BatchedLBFGS(steps=self.steps)

    def _prior(self, found: Evidence) -> GaussianPrior | None:
        if self.prior not in ("chosen", "gaussian") or found.x.shape[1] > _WIDEST_PRIOR:
            return None
        return GaussianPrior.fit(found.x, found.rows, found.classes)

    def _refuse(self, found: Evidence) -> None:
        if self.prior == "variation" and len(found.shape) != 3:
            raise BadInput(
                f"total variation is of images, got targets of shape {found.shape}: use "
                "prior='gaussian' or 'none'"
            )
        if self.prior == "gaussian" and found.x.shape[1] > _WIDEST_PRIOR:
            raise BadInput(
                f"a Gaussian prior holds up to {_WIDEST_PRIOR} values an image, got "
                f"{found.x.shape[1]}: use prior='variation' or smaller images"
            )


def _nothing(starts: Starts) -> Search:
    n, k, _ = starts.x.shape
    none, whole = starts.x.new_zeros(n, dtype=torch.float64), torch.zeros(n, k, dtype=torch.int64)
    return Search(starts.x[:, 0], none, none, whole[:, 0], whole, whole, 1, ())
