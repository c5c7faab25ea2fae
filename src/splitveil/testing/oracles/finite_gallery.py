"""A finite gallery of images behind Gaussian noise: exact posteriors and naming rates."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from splitveil.errors import BadInput
from splitveil.release.gaussian import ClippedGaussian
from splitveil.rng import Rng
from splitveil.testing.oracles.gaussian_mixture import GaussianMixture


@dataclass(frozen=True, eq=False)
class FiniteGallery:
    """X is one of n points, each as likely, sent as Z = A X + s E.

    `points` (n, d), `matrix` A (f, d), `sigma` s > 0; all float64. With one feature the least
    error, the information and the best attacker's naming rate are exact. Units: nats, and squared
    input units per dimension.

    Raises:
        BadInput: if there are fewer than 2 points, or as `GaussianMixture`.
    """

    points: Float64[Tensor, "n d"]
    matrix: Float64[Tensor, "f d"]
    sigma: float

    def __post_init__(self) -> None:
        if len(self.points) < 2:
            raise BadInput(f"a gallery needs at least 2 points, got {len(self.points)}")

    @staticmethod
    def random(
        count: int, dimensions: int, rng: Rng, *, features: int = 1, sigma: float = 0.5
    ) -> "FiniteGallery":
        """Points and map from the normal law."""
        generator = rng.child("finite gallery").torch()
        points = torch.randn(count, dimensions, generator=generator, dtype=torch.float64)
        matrix = torch.randn(features, dimensions, generator=generator, dtype=torch.float64)
        return FiniteGallery(points, matrix / math.sqrt(dimensions), sigma)

    @cached_property
    def mixture(self) -> GaussianMixture:
        """The same problem as a mixture of points."""
        n, d = self.points.shape
        even = torch.full((n,), 1 / n, dtype=torch.float64)
        offset = self.points.new_zeros(len(self.matrix))
        return GaussianMixture(
            even, self.points, self.points.new_zeros(n, d, d), self.matrix, offset, self.sigma
        )

    @property
    def features(self) -> Float64[Tensor, "n f"]:
        """What each point sends before the noise."""
        return self.points @ self.matrix.T

    @property
    def radius(self) -> float:
        """The largest norm of clean features: clipping there changes nothing."""
        return float(self.features.norm(dim=1).max())

    @property
    def identification(self) -> float:
        """How often the nearest point is the sent one, which no attacker can beat; one feature.

        In order of their features a point is named where z lies between the middles to its
        neighbours: mean over points of Phi(right gap / 2 s) - Phi(-left gap / 2 s).

        Raises:
            BadInput: if there is more than one feature.
        """
        if len(self.matrix) != 1:
            raise BadInput(f"the naming rate is exact for one feature, got {len(self.matrix)}")
        half = self.features[:, 0].sort().values.diff() / (2 * self.sigma)
        inner = torch.special.ndtr(half)
        return float(1 + 2 * (inner - 0.5).sum()) / len(self.points)

    def exact(self) -> tuple[float, float]:
        """Least error and I(X; Z), by quadrature; one feature."""
        return self.mixture.exact()

    def draw(self, n: int, rng: Rng) -> tuple[Float64[Tensor, "n d"], Int64[Tensor, " n"]]:
        """Independent draws of X, and which points they are."""
        chosen = torch.randint(len(self.points), (n,), generator=rng.child("chosen").torch())
        return self.points[chosen], chosen

    def release(self) -> ClippedGaussian:
        """The noise, with a clip that reaches exactly to the outermost point."""
        return ClippedGaussian(self.matrix.new_zeros(len(self.matrix)), self.radius, self.sigma)
