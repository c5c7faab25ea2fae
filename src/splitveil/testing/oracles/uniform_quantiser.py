"""Uniform values rounded to b bits: the payload bound holds with equality."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from splitveil.errors import BadInput
from splitveil.partition.types import Partition
from splitveil.release.coding import Lattice
from splitveil.release.uniform import RoundedFeatures
from splitveil.rng import Rng
from splitveil.testing.oracles.vectors import (
    linear_partition,
    vector_knowledge,
    vector_observation,
)
from splitveil.threat import Observation, WhiteBox


@dataclass(frozen=True)
class QuantisedUniform:
    """X uniform on [0, 1]^d, sent as the middle of its cell of width D = 2**-bits per value.

    Units: nats, and squared input units per dimension.

    Raises:
        BadInput: if there are no dimensions or bits is not in 1..8.
    """

    dimensions: int
    bits: int

    def __post_init__(self) -> None:
        if self.dimensions < 1 or not 1 <= self.bits <= 8:
            raise BadInput(f"needs dimensions >= 1 and bits in 1..8, got {self}")

    @property
    def cell(self) -> float:
        """The width D of a cell."""
        return 2.0**-self.bits

    @property
    def mmse(self) -> float:
        """D² / 12: given its cell, X is uniform on it, and its middle is the posterior mean."""
        return self.cell**2 / 12

    @property
    def information(self) -> float:
        """I(X; Z) = d b ln 2: Z is a function of X with 2**(d b) equally likely values."""
        return self.dimensions * self.bits * math.log(2)

    @property
    def entropy(self) -> float:
        """H(X | Z) = d ln D: the log volume of a cell; h(X) = 0."""
        return self.dimensions * math.log(self.cell)

    @property
    def entropy_bound(self) -> float:
        """exp(2 h(X|Z) / d) / (2πe) = D² / (2πe) <= mmse, short of it by the factor 12 / (2πe)."""
        return self.cell**2 / (2 * math.pi * math.e)

    def posterior_mean(self, z: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """The middle of the cell, which is what was sent."""
        return z

    def targets(self, n: int, rng: Rng) -> Float64[Tensor, "n d"]:
        """Independent draws of X."""
        generator = rng.child("targets").torch()
        return torch.rand((n, self.dimensions), generator=generator, dtype=torch.float64)

    def release(self) -> RoundedFeatures:
        """Rounding to the middles of the cells."""
        return RoundedFeatures(Lattice(low=self.cell / 2, step=self.cell, bits=self.bits))

    def partition(self, dtype: torch.dtype = torch.float64) -> Partition:
        """The problem as a partition with an identity head."""
        eye = torch.eye(self.dimensions, dtype=dtype)
        return linear_partition("quantised-uniform", eye, eye.new_zeros(len(eye)), self.release())

    def knowledge(self, n: int, rng: Rng, *, dtype: torch.dtype = torch.float32) -> WhiteBox:
        """A white-box attacker with `n` targets of its own."""
        return vector_knowledge(
            self.partition(dtype), self.targets(n, rng.child("auxiliary")).to(dtype)
        )

    def observe(
        self, n: int, rng: Rng, *, sends: int = 1, dtype: torch.dtype = torch.float32
    ) -> tuple[Observation, Tensor]:
        """What crosses for `n` fresh private targets, and those targets."""
        x = self.targets(n, rng.child("private")).to(dtype)
        return vector_observation(self.partition(dtype), x, sends, rng.child("release")), x
