"""Nonlinear features that tell exactly what a linear-Gaussian channel tells."""

from dataclasses import dataclass

from jaxtyping import Float64
from torch import Tensor

from splitveil.partition.types import Partition
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.testing.oracles.linear_gaussian import LinearGaussian
from splitveil.testing.oracles.recodings import Bijection, RecodedRelease
from splitveil.testing.oracles.vectors import (
    linear_partition,
    vector_knowledge,
    vector_observation,
)
from splitveil.threat import Observation, WhiteBox


@dataclass(frozen=True, eq=False)
class InvertibleNet:
    """Z = g(A X + b + s E) with X Gaussian and g an invertible leaky network.

    Data processing both ways: everything that is known of `source`, the channel before g, holds
    of Z unchanged. With s = 0 and A invertible the features fix the image, and a strong attack
    must find it. Units: nats, and squared input units per dimension.
    """

    source: LinearGaussian
    network: Bijection

    @staticmethod
    def random(
        dimensions: int, features: int, rng: Rng, *, sigma: float = 0.5, layers: int = 3
    ) -> "InvertibleNet":
        """A random linear-Gaussian problem behind random rotations and kinks."""
        return InvertibleNet(
            LinearGaussian.random(dimensions, features, rng, sigma=sigma),
            Bijection.random(features, rng, layers=layers),
        )

    @property
    def mmse(self) -> float:
        """The least error of any attacker, per dimension."""
        return self.source.mmse

    @property
    def information(self) -> float:
        """I(X; Z)."""
        return self.source.information

    def posterior_mean(self, z: Float64[Tensor, "n f"]) -> Float64[Tensor, "n d"]:
        """E[X | z]: the source's, of what went into the network."""
        return self.source.posterior_mean(self.network.inverse(z))

    def targets(self, n: int, rng: Rng) -> Float64[Tensor, "n d"]:
        """Independent draws of X."""
        return self.source.targets(n, rng)

    def release(self) -> Release:
        """The noise, then the network; its density is exact."""
        return RecodedRelease(self.source.release(), self.network)

    def partition(self) -> Partition:
        """The problem as a partition: head A x + b, release as above, identity tail."""
        return linear_partition(
            "invertible-net", self.source.matrix, self.source.offset, self.release()
        )

    def knowledge(self, n: int, rng: Rng) -> WhiteBox:
        """A white-box attacker with `n` targets of its own."""
        return vector_knowledge(self.partition(), self.targets(n, rng.child("auxiliary")))

    def observe(self, n: int, rng: Rng, *, sends: int = 1) -> tuple[Observation, Tensor]:
        """What crosses for `n` fresh private targets, and those targets."""
        x = self.targets(n, rng.child("private"))
        return vector_observation(self.partition(), x, sends, rng.child("release")), x
