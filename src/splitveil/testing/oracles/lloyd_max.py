"""Gaussian values rounded as well as so many levels allow."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float64
from scipy import optimize, stats
from torch import Tensor

from splitveil.errors import BadInput
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Features


@dataclass(frozen=True, eq=False)
class NearestLevel(Release):
    """Each value moved to the nearest of `levels` (increasing); no density."""

    levels: Float64[Tensor, " k"]

    def __call__(self, z: Features, generator: torch.Generator) -> Features:
        middles = ((self.levels[1:] + self.levels[:-1]) / 2).to(z.dtype)
        return self.levels.to(z.dtype)[torch.bucketize(z, middles)]

    def bits(self, features: int) -> float:
        return float(features * max(1, math.ceil(math.log2(len(self.levels)))))


@dataclass(frozen=True, eq=False)
class LloydMax:
    """X ~ N(0, I) in d dimensions, each value sent as the centre of mass of its cell.

    With cells between the middles of neighbouring levels c, every level is the mean of its cell's
    share of the normal law: no quantiser with as many levels errs less. With p the cells' shares,
    the least error is 1 - sum p c² and I(X; Z) = -d sum p log p. Units: nats, and squared input
    units per dimension.

    Raises:
        BadInput: if there are no dimensions or levels are not in 2..256.
    """

    dimensions: int
    count: int

    def __post_init__(self) -> None:
        if self.dimensions < 1 or not 2 <= self.count <= 256:
            raise BadInput(f"needs dimensions >= 1 and levels in 2..256, got {self}")

    @cached_property
    def levels(self) -> Float64[Tensor, " k"]:
        """The fixed point of Lloyd's rounds, increasing."""

        def moved(levels: np.ndarray) -> np.ndarray:
            share, centre = _cells(levels)
            return centre / share - levels

        start = stats.norm.ppf((np.arange(self.count) + 0.5) / self.count)
        found = np.sort(optimize.root(moved, start, tol=1e-13).x)
        return torch.from_numpy(found)

    @cached_property
    def shares(self) -> Float64[Tensor, " k"]:
        """How often each level is sent."""
        return torch.from_numpy(_cells(self.levels.numpy())[0])

    @property
    def mmse(self) -> float:
        """What is left within a cell, on average."""
        return 1 - float((self.shares * self.levels.square()).sum())

    @property
    def information(self) -> float:
        """I(X; Z) = H(Z), since Z is a function of X."""
        return -self.dimensions * float(torch.xlogy(self.shares, self.shares).sum())

    @property
    def prior_entropy(self) -> float:
        """H(X) = (d / 2) log(2 pi e)."""
        return 0.5 * self.dimensions * math.log(2 * math.pi * math.e)

    def targets(self, n: int, rng: Rng) -> Float64[Tensor, "n d"]:
        """Independent draws of X."""
        generator = rng.child("targets").torch()
        return torch.randn(n, self.dimensions, generator=generator, dtype=torch.float64)

    def release(self) -> NearestLevel:
        """The rounding."""
        return NearestLevel(self.levels)


def _cells(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mass and first moment of the standard normal law in each cell."""
    edges = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
    return np.diff(stats.norm.cdf(edges)), -np.diff(stats.norm.pdf(edges))
