"""Search among the images that an untrained network draws easily."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.classes import Classes
from splitveil.attacks.evidence import gather, grant, in_shape, observed
from splitveil.attacks.optimise.chunks import in_chunks
from splitveil.attacks.optimise.fidelity import Fidelity, fidelity_of
from splitveil.attacks.optimise.minimise import Ending, Minimum
from splitveil.attacks.optimise.objective import Objective
from splitveil.attacks.optimise.skip_network import SkipNetwork
from splitveil.errors import BadInput, BadPlan, KnowledgeMissing
from splitveil.nets import evaluating
from splitveil.partition.layout import Layout
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.threat import Observation, QueryFree, WhiteBox

_CODE = 8
_FIRST, _SECOND, _FLOOR = 0.9, 0.999, 1e-8
_AVERAGE = 0.95
_SCALE_IMAGES = 500


@dataclass(frozen=True, eq=False)
class Drawing(Reconstructor):
    """Trains one network an image and restart to draw what explains z.

    `weights` are those of each restart, stacked; `code` (1, 8, h, w) is what all networks draw
    from.
    """

    attack: "DeepImagePrior"
    network: nn.Module
    weights: dict[str, Tensor]
    code: Tensor
    head: nn.Module
    release: Release | None
    example: Tensor
    classes: Classes
    layout: Layout
    shape: tuple[int, ...]
    rng: Rng

    def __call__(self, observation: Observation, rng: Rng) -> Targets:
        return self.noted(observation, rng)[0]

    def noted(self, observation: Observation, rng: Rng) -> tuple[Targets, tuple[str, ...]]:
        found = self.search(observation)
        lost = int((found.ending == Ending.DIVERGED).sum())
        notes = (f"{lost} images diverged: the best drawing before that was kept",) if lost else ()
        return in_shape(found.x, self.shape), notes

    def search(self, observation: Observation) -> Minimum:
        """The images drawn, flat, of the restart with the least misfit of each.

        Raises:
            BadInput: if the observation does not fit, or the head passes no usable gradient.
        """
        mean, _ = observed(observation, self.layout, self.classes, self.code.device)
        sends = observation.z.detach().to(mean)
        fidelity = fidelity_of(self.release, sends, self.example, self.layout)
        count = self.attack.restarts

        def work(index: Tensor) -> Minimum:
            return self._train(index % count, index // count, fidelity)

        if not len(mean):
            none = torch.zeros(0, dtype=torch.int64)
            return Minimum(mean.new_zeros(0, math.prod(self.shape)), none.double(), none, none, {})
        with evaluating(self.head):
            whole = Objective(self.head, fidelity, None, self.shape, torch.float32)
            whole.check(self._draw(self.weights, self.code)[:1].flatten(1), torch.arange(1))
            found, _ = in_chunks(work, len(mean) * count, self.attack.chunk, mean.device)
        value = found.value.nan_to_num(math.inf).reshape(-1, count)
        rows = torch.arange(len(mean), device=mean.device)
        return found.take(rows * count + value.argmin(1))

    def _draw(self, weights: dict[str, Tensor], code: Tensor) -> Tensor:
        def one(own: dict[str, Tensor]) -> Tensor:
            drawn: Tensor = functional_call(self.network, own, (code,))
            return drawn[0]

        drawn: Tensor = vmap(one)(weights)
        return drawn

    def _train(self, start: Tensor, images: Tensor, fidelity: Fidelity) -> Minimum:
        attack, n = self.attack, len(images)
        state = _State.begin({name: value[start] for name, value in self.weights.items()}, images)
        x = self.code.new_zeros(n, math.prod(self.shape))
        answer = Minimum(
            x, x.new_full((n,), math.inf).double(), start * 0, start * 0 + Ending.STEPS, {}
        )
        for step in range(attack.steps):
            if not len(state.rows):
                break
            value, drawn, slopes = self._evaluate(state, self._shaken(step), fidelity)
            state.average(drawn, step)
            finite = value.isfinite() & torch.stack(
                [slope.flatten(1).isfinite().all(1) for slope in slopes.values()]
            ).all(0)
            fitted = finite & (value <= (fidelity.expected or 0.0))
            gone = fitted | ~finite
            if gone.any():
                ending = torch.where(fitted, int(Ending.CONVERGED), int(Ending.DIVERGED))
                self._answer(state.take(gone), answer, fidelity, ending[gone])
                state = state.take(~gone)
                slopes = {name: slope[~gone] for name, slope in slopes.items()}
            rate = attack.rate * (1 + math.cos(math.pi * step / attack.steps)) / 2
            state.move(slopes, rate, step)
            answer.steps[state.rows] += 1
        if len(state.rows):
            self._answer(state, answer, fidelity, torch.full_like(state.rows, Ending.STEPS))
        return answer

    def _shaken(self, step: int) -> Tensor:
        """The code with noise that dies out, the same for all images."""
        left = self.attack.noise * (1 - step / self.attack.steps)
        draw = torch.randn(self.code.shape, generator=self.rng.child("code", step).torch())
        return self.code + left * draw.to(self.code.device)

    def _evaluate(
        self, state: "_State", code: Tensor, fidelity: Fidelity
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        with torch.enable_grad():
            weights = {name: w.detach().requires_grad_() for name, w in state.weights.items()}
            drawn = self._draw(weights, code)
            value = fidelity(self.head(drawn), state.images)
            slopes = torch.autograd.grad(value.sum(), list(weights.values()))
        return value.detach().double(), drawn.detach(), dict(zip(weights, slopes, strict=True))

    def _answer(self, state: "_State", answer: Minimum, fidelity: Fidelity, ending: Tensor) -> None:
        """The better of the last drawing and the average of drawings, by their misfit."""
        both = (self._draw(state.weights, self.code), state.mean)
        costs = torch.stack([fidelity(self.head(x), state.images).double() for x in both])
        costs = costs.nan_to_num(math.inf, math.inf, math.inf)
        last = (costs[0] < costs[1])[:, None]
        answer.x[state.rows] = torch.where(last, both[0].flatten(1), both[1].flatten(1))
        answer.value[state.rows] = costs.amin(0)
        answer.ending[state.rows] = ending


@dataclass(eq=False)
class _State:
    """The networks still training, one a row, and Adam's moments of their weights."""

    rows: Tensor
    images: Tensor
    weights: dict[str, Tensor]
    first: dict[str, Tensor]
    second: dict[str, Tensor]
    mean: Tensor

    @staticmethod
    def begin(weights: dict[str, Tensor], images: Tensor) -> "_State":
        zero = {name: torch.zeros_like(value) for name, value in weights.items()}
        rows = torch.arange(len(images), device=images.device)
        return _State(rows, images, weights, zero, dict(zero), torch.empty(0))

    def average(self, drawn: Tensor, step: int) -> None:
        """Take in a drawing, where it is finite."""
        if step == 0:
            self.mean = drawn.nan_to_num(0.5)
            return
        # young averages follow faster, so that the first drawings do not linger
        keep = min(_AVERAGE, step / (step + 10))
        self.mean = torch.where(drawn.isfinite(), torch.lerp(drawn, self.mean, keep), self.mean)

    def move(self, slopes: dict[str, Tensor], rate: float, step: int) -> None:
        """One step of Adam; new tensors, as starts are shared."""
        for name, slope in slopes.items():
            self.first[name] = torch.lerp(slope, self.first[name], _FIRST)
            self.second[name] = torch.lerp(slope.square(), self.second[name], _SECOND)
            mean = self.first[name] / (1 - _FIRST ** (step + 1))
            root = (self.second[name] / (1 - _SECOND ** (step + 1))).sqrt()
            self.weights[name] = self.weights[name] - rate * mean / (root + _FLOOR)

    def take(self, mask: Tensor) -> "_State":
        """Some of the networks."""

        def part(of: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: value[mask] for name, value in of.items()}

        return replace(
            self,
            rows=self.rows[mask],
            images=self.images[mask],
            weights=part(self.weights),
            first=part(self.first),
            second=part(self.second),
            mean=self.mean[mask],
        )


@dataclass(frozen=True, kw_only=True)
class DeepImagePrior(Attack):
    """Train a small network from scratch, for each image, to draw what explains z.

    x̂ = g_θ(ε), θ from Adam on -log p(z | g_θ(ε)) / f, the likelihood as in `Likelihood`, ε a fixed
    code with noise of deviation `noise` that dies out. Such networks draw natural structure before
    they draw noise. Training of an image stops where Gaussian noise of known scale is explained as
    well as the truth would (the discrepancy principle), or after `steps`; the answer is the last
    drawing or the running average of drawings, whichever explains z better, of the best of
    `restarts`. It asks nothing of auxiliary images but the scale of channels, and so is the attack
    of those who have few or other images. Networks of all images train side by side under vmap;
    rounding differs with a batch's size, and training amplifies it.

    Knowledge: white-box; no queries. Cost: steps and restarts times 3 passes of the head and of a
    network of about 60 width² operations a pixel, an image; `chunk` networks together.
    """

    requires: ClassVar[type[QueryFree]] = WhiteBox
    reference: ClassVar[str] = "Ulyanov, Vedaldi & Lempitsky 2018"

    steps: int = 400
    width: int = 16
    depth: int = 3
    rate: float = 0.01
    noise: float = 0.03
    restarts: int = 1
    chunk: int = 16

    def __post_init__(self) -> None:
        if min(self.steps, self.depth, self.restarts, self.chunk) < 1:
            raise BadPlan(f"steps, depth, restarts and chunk must be at least 1: {self}")
        if self.width < 4 or self.width % 4:
            raise BadPlan(f"width must be a multiple of 4, got {self.width}")
        if not (0 < self.rate < math.inf and 0 <= self.noise < math.inf):
            raise BadPlan(f"rate must be positive and noise not negative: {self}")

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        grant(self, knowledge)
        if not isinstance(knowledge, WhiteBox):
            raise KnowledgeMissing(f"{type(knowledge).__name__} grants no head to search through")
        found = gather(self, knowledge, rng, limit=_SCALE_IMAGES)
        if len(found.shape) != 3 or min(found.shape[1:]) < 4:
            raise BadInput(
                f"it draws images of at least 4 x 4 pixels, got targets of shape {found.shape}: "
                "use another attack"
            )
        colours, height, width = found.shape
        depth = min(self.depth, max(1, int(math.log2(min(height, width))) - 1))
        device = found.x.device
        network = _fresh(lambda: SkipNetwork(_CODE, colours, self.width, depth), rng.child("shape"))
        made = [
            _fresh(lambda: SkipNetwork(_CODE, colours, self.width, depth), rng.child("start", r))
            for r in range(self.restarts)
        ]
        weights = {
            name: value.detach().to(device) for name, value in stack_module_state(made)[0].items()
        }
        code = torch.rand(1, _CODE, height, width, generator=rng.child("code").torch()) - 0.5
        return Drawing(
            self,
            network.to(device),
            weights,
            code.to(device),
            knowledge.head,
            knowledge.release if knowledge.knows_defence else None,
            found.z,
            found.classes,
            found.layout,
            found.shape,
            rng,
        )


def _fresh(make: Callable[[], nn.Module], rng: Rng) -> nn.Module:
    with rng.as_global():
        return make()
