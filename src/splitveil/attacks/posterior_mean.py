"""The posterior mean over the attacker's own images: Bayes' rule with a gallery for a prior."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.classes import Classes
from splitveil.attacks.evidence import Evidence, gather, grant, in_shape, observed
from splitveil.attacks.nearest_features import Neighbourhood
from splitveil.errors import BadPlan
from splitveil.partition.layout import Layout
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.threat import Observation, Pairs, QueryFree, WhiteBox

_QUERIES = 256
_HELD_OUT = 256
_TEMPERATURES = tuple(2.0**-i for i in range(17))
_BANDWIDTHS = tuple(2.0**i for i in range(-8, 9))


@dataclass(frozen=True, eq=False)
class Weighing(Reconstructor):
    """x̂ = Σ w_i x_i with w_i ~ exp(temper · log p(z | x_i)) over the targets x (n, d).

    Without a `density`, or for a z that no target could have sent, the score is minus the squared
    distance between features times `kernel_temper` instead.
    """

    x: Tensor
    clean: Tensor
    near: Neighbourhood
    density: Release | None
    temper: float
    kernel_temper: float
    classes: Classes
    layout: Layout
    shape: tuple[int, ...]

    def __call__(self, observation: Observation, rng: Rng) -> Targets:
        z, rows = observed(observation, self.layout, self.classes, self.x.device)
        sends = observation.z.detach().to(self.x.device).float()
        parts = [
            self.weights(view, mean, r) @ self.x.double()
            for view, mean, r in zip(
                sends.split(_QUERIES), z.split(_QUERIES), rows.split(_QUERIES), strict=True
            )
        ]
        return in_shape(torch.cat(parts).float(), self.shape)

    def weights(self, sends: Tensor, mean: Tensor, rows: Tensor) -> Tensor:
        """The posterior (q, n) given sends (q, sends, f), their mean (q, f) and label rows."""
        kernel = -self.kernel_temper * self.near.distances(mean, rows).double()
        scores = self.scores(sends, rows)
        if scores is None:
            return kernel.softmax(1)
        possible = scores.isfinite().any(1, keepdim=True)
        return torch.where(possible, self.temper * scores, kernel).softmax(1)

    def scores(self, sends: Tensor, rows: Tensor) -> Tensor | None:
        """Log p(sends | x_i) in nats, (q, n), minus infinity outside the class; None if unknown."""
        return _log_likelihood(self.density, sends, self.clean, self.near.hidden(rows))


@dataclass(frozen=True, kw_only=True)
class PosteriorMean(Attack):
    """Answer with the mean of the auxiliary targets, weighed by how likely each sent this z.

    x̂ = Σ w_i x_i, w_i ∝ p(z | x_i)^β, by class where labels are known: exact Bayes at β = 1 for
    targets drawn from the gallery, which is the attacker that the genie-gallery bound assumes,
    without the target among its images. As the target is not among them, β = 1 is too sure;
    unless `temper` is given, β is what rebuilds auxiliary targets best, each sent anew and left
    out of the gallery. p is the release's density, and joint over several sends. Where the
    attacker does not know it (black-box, unknown defence) or there is none (deterministic
    release), w_i ∝ exp(-‖z - z_i‖² / 2h²), kernel regression with h chosen in the same way.
    A gallery far from the target cannot rebuild it, however little noise there is.

    Knowledge: pairs, or one query an auxiliary image, at most `samples`. Cost: n f values kept
    and 2 n f operations an observation and send.
    """

    requires: ClassVar[type[QueryFree]] = Pairs
    reference: ClassVar[str] = "Bayes' rule on a gallery; Nadaraya 1964; Watson 1964"

    temper: float | None = None
    samples: int = 10_000

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise BadPlan(f"samples must be at least 2, got {self.samples}")
        if self.temper is not None and not 0 < self.temper < float("inf"):
            raise BadPlan(f"temper must be positive and finite, got {self.temper}")

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        grant(self, knowledge)
        found = gather(self, knowledge, rng, limit=self.samples)
        near = Neighbourhood.of(found, standardised=False)
        order = torch.randperm(len(found.x), generator=rng.child("left out").torch())
        own = order[:_HELD_OUT].to(found.x.device)
        kernel = near.distances(found.z[own], found.rows[own]).double().neg()
        kernel[torch.arange(len(own)), own] = -torch.inf
        closest = float(kernel.amax(1).neg().nan_to_num(posinf=0.0).median())
        grid = tuple(each / max(closest, 1e-30) for each in _BANDWIDTHS)
        kernel_temper = least_error(kernel, found, own, grid)
        density, clean, temper = None, found.z, 1.0
        if isinstance(knowledge, WhiteBox) and knowledge.knows_defence:
            release = knowledge.release
            if release.has_density:
                blind = replace(knowledge, knows_defence=False)
                density = release
                clean = gather(self, blind, rng, limit=self.samples).z
                temper = self.temper or self._chosen(release, clean, near, found, own)
        return Weighing(
            found.x,
            clean,
            near,
            density,
            temper,
            kernel_temper,
            found.classes,
            found.layout,
            found.shape,
        )

    def _chosen(
        self, release: Release, clean: Tensor, near: Neighbourhood, found: Evidence, own: Tensor
    ) -> float:
        scores = _log_likelihood(
            release, found.z[own, None], clean, near.hidden(found.rows[own]), left_out=own
        )
        return 1.0 if scores is None else least_error(scores, found, own, _TEMPERATURES)


def least_error(scores: Tensor, found: Evidence, own: Tensor, tempers: tuple[float, ...]) -> float:
    """Which temper of scores (q, n) rebuilds the targets `own` (q) with the least squared error.

    Rows that no other target explains are passed over.
    """
    seen = scores.isfinite().any(1)
    if not seen.any():
        return tempers[0]
    x, truth = found.x.double(), found.x[own[seen]].double()
    errors = [
        float(((temper * scores[seen]).softmax(1) @ x - truth).square().mean())
        for temper in tempers
    ]
    return tempers[errors.index(min(errors))]


def _log_likelihood(
    release: Release | None,
    sends: Tensor,
    clean: Tensor,
    hidden: Tensor,
    *,
    left_out: Tensor | None = None,
) -> Tensor | None:
    if release is None:
        return None
    total = clean.new_zeros(len(sends), len(clean), dtype=torch.float64)
    for sent in sends.unbind(1):
        values = release.pairwise_log_prob(sent, clean)
        if values is None:
            return None
        total += values.double()
    total = total.masked_fill(hidden, -torch.inf)
    if left_out is not None:
        total[torch.arange(len(sends), device=total.device), left_out] = -torch.inf
    return total
