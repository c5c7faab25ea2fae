"""Nearest neighbours in feature space, averaged."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.classes import Classes
from splitveil.attacks.evidence import Evidence, gather, in_shape, observed
from splitveil.attacks.memory import piecewise
from splitveil.errors import BadPlan
from splitveil.partition.layout import Layout
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.threat import Observation, Pairs, QueryFree

_QUERIES = 128
_COLUMNS = 2048
_HELD_OUT = 512
_NEIGHBOURS = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Features (n, f), centred and divided by `scale` (f), and the label row of each.

    `squared` (n) are their squared lengths. Rows of a class see their own class only; the last row,
    of no class, sees everything.
    """

    z: Tensor
    squared: Tensor
    centre: Tensor
    scale: Tensor
    rows: Tensor
    nobody: int

    @staticmethod
    def of(found: Evidence, *, standardised: bool) -> "Neighbourhood":
        """Over all features of `found`, as they are or in standard deviations.

        A feature that does not vary counts nothing in the second form.
        """
        columns = (part.double() for part in found.z.split(_COLUMNS, 1))
        parts = [torch.var_mean(part, 0, correction=0) for part in columns]
        spread, centre = (torch.cat(part) for part in zip(*parts, strict=True))
        scale = torch.ones_like(spread)
        if standardised:
            scale = torch.where(spread > 1e-12 * spread.max(), spread.sqrt(), torch.inf)
        scale, centre = scale.float(), centre.float()
        nobody = len(found.classes.seen)
        z = (found.z - centre).div_(scale)
        squared = piecewise(lambda part: part.square().sum(1), z, _QUERIES)
        return Neighbourhood(z, squared, centre, scale, found.rows, nobody)

    def distances(self, z: Tensor, rows: Tensor) -> Tensor:
        """Squared distances (q, n), infinite to members of another class."""
        query = (z - self.centre) / self.scale
        squared = query.square().sum(1, keepdim=True) + self.squared
        squared = (squared - 2 * query @ self.z.T).clamp(min=0)
        return squared.masked_fill(self.hidden(rows), torch.inf)

    def hidden(self, rows: Tensor) -> Tensor:
        """Which members (n) each of the rows (q) does not see."""
        return (rows[:, None] != self.rows) & (rows != self.nobody)[:, None]


def nearest_means(distances: Tensor, x: Tensor, counts: tuple[int, ...]) -> Tensor:
    """Means (q, len(counts), d) of the nearest targets, fewer where no more are at hand."""
    most = min(max(counts), len(x))
    near = distances.topk(most, 1, largest=False)
    seen = near.values.isfinite().float()
    total = (x[near.indices] * seen[..., None]).cumsum(1)
    last = torch.tensor(counts, device=x.device).clamp(max=most) - 1
    return total[:, last] / seen.cumsum(1)[:, last, None].clamp(min=1)


@dataclass(frozen=True, eq=False)
class Averaged(Reconstructor):
    """Answers with the mean of the `count` nearest of the targets x (n, d)."""

    x: Tensor
    near: Neighbourhood
    count: int
    classes: Classes
    layout: Layout
    shape: tuple[int, ...]

    def __call__(self, observation: Observation, rng: Rng) -> Targets:
        z, rows = observed(observation, self.layout, self.classes, self.x.device)
        parts = [
            nearest_means(self.near.distances(q, r), self.x, (self.count,))[:, 0]
            for q, r in zip(z.split(_QUERIES), rows.split(_QUERIES), strict=True)
        ]
        return in_shape(torch.cat(parts), self.shape)


@dataclass(frozen=True, kw_only=True)
class NearestFeatures(Attack):
    """Answer with the mean of the k auxiliary targets whose transmitted features are nearest.

    x̂ = (1/k) Σ x_j over the k nearest z_j in squared distance, among the targets of the true class
    where labels are known and the class has any. k (unless `neighbours` is given) and whether
    features count in their own units or in standard deviations are what rebuilds auxiliary targets
    best with each left out in turn. Averages over images are blurred: a small error need not mean
    that anything of this very image was found.

    Knowledge: pairs, or one query an auxiliary image, at most `samples`. Cost: n f values kept
    and 2 n f operations an observation.
    """

    requires: ClassVar[type[QueryFree]] = Pairs
    reference: ClassVar[str] = "Fix & Hodges 1951; Cover & Hart 1967"

    neighbours: int | None = None
    samples: int = 10_000

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise BadPlan(f"samples must be at least 2, got {self.samples}")
        if self.neighbours is not None and self.neighbours < 1:
            raise BadPlan(f"neighbours must be at least 1, got {self.neighbours}")

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        found = gather(self, knowledge, rng, limit=self.samples)
        counts = _NEIGHBOURS if self.neighbours is None else (self.neighbours,)
        order = torch.randperm(len(found.x), generator=rng.child("left out").torch())
        own = order[:_HELD_OUT].to(found.x.device)
        tried = []
        for standardised in (False, True):  # one at a time: each is a copy of all features
            near = Neighbourhood.of(found, standardised=standardised)
            errors = left_out_errors(near, found, own, counts)
            del near
            least = int(errors.argmin())
            tried.append((float(errors[least]), counts[least], standardised))
        _, count, standardised = min(tried, key=lambda each: each[0])
        near = Neighbourhood.of(found, standardised=standardised)
        return Averaged(found.x, near, count, found.classes, found.layout, found.shape)


def left_out_errors(
    near: Neighbourhood, found: Evidence, own: Tensor, counts: tuple[int, ...]
) -> Tensor:
    """Squared error per value (len(counts)) of targets `own`, each rebuilt from all others."""
    total = found.x.new_zeros(len(counts), dtype=torch.float64)
    for part in own.split(_QUERIES):
        distances = near.distances(found.z[part], found.rows[part])
        distances[torch.arange(len(part), device=part.device), part] = torch.inf
        guess = nearest_means(distances, found.x, counts)
        total += (guess - found.x[part, None]).double().square().mean(2).sum(0)
    return total / len(own)
