"""Retrieval: answer with the auxiliary target whose features are nearest."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.classes import Classes
from splitveil.attacks.evidence import gather, in_shape, observed
from splitveil.attacks.memory import piecewise
from splitveil.errors import BadPlan
from splitveil.partition.layout import Layout
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.threat import Observation, Pairs, QueryFree

_QUERIES = 512
_TOGETHER = 64


@dataclass(frozen=True, eq=False)
class Gallery(Reconstructor):
    """Auxiliary targets (n, d), their features (n, f) and label rows.

    `squared` (n,) are squared distances of the features from `centre`.
    """

    x: Tensor
    z: Tensor
    squared: Tensor
    centre: Tensor
    rows: Tensor
    classes: Classes
    layout: Layout
    shape: tuple[int, ...]

    def __call__(self, observation: Observation, rng: Rng) -> Targets:
        z, rows = observed(observation, self.layout, self.classes, self.x.device)
        # stays False everywhere for a class without examples, or without labels
        other = torch.ones(len(self.classes.seen) + 1, len(self.x), dtype=torch.bool)
        other = other.to(self.x.device)
        other[self.rows, torch.arange(len(self.x), device=self.x.device)] = False
        other[-1] = False
        nearest = [
            torch.where(
                other[r], torch.inf, self.squared - 2 * (q - self.centre) @ self.z.T
            ).argmin(1)
            for q, r in zip(z.split(_QUERIES), rows.split(_QUERIES), strict=True)
        ]
        return in_shape(self.x[torch.cat(nearest)], self.shape)


@dataclass(frozen=True, kw_only=True)
class NearestAuxiliary(Attack):
    """Answer with the auxiliary target whose transmitted features are nearest to z.

    x̂ = x_j, j = argmin_i ||z_i - z||², over the targets of the true class where labels are known
    and the class has any. Distances are Euclidean on unscaled features, so a few loud features
    can decide. Knowledge: pairs, or one query an auxiliary image, at most `samples`. Cost: n f
    values kept and 2 n f operations an observation.
    """

    requires: ClassVar[type[QueryFree]] = Pairs
    reference: ClassVar[str] = "floor: nearest neighbour in feature space"

    samples: int = 10_000

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise BadPlan(f"samples must be at least 2, got {self.samples}")

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        found = gather(self, knowledge, rng, limit=self.samples)
        centre = found.classes.means(found.z, found.rows)[-1]
        return Gallery(
            found.x,
            found.z,
            piecewise(lambda z: (z - centre).square().sum(1), found.z, _TOGETHER),
            centre,
            found.rows,
            found.classes,
            found.layout,
            found.shape,
        )
