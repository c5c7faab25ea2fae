"""The linear-Gaussian problem: everything about it is known exactly."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float64
from torch import Tensor

from splitveil.errors import BadInput
from splitveil.partition.types import Partition
from splitveil.release.base import Release
from splitveil.release.gaussian import ClippedGaussian
from splitveil.release.identity import Identity
from splitveil.rng import Rng
from splitveil.testing.oracles.vectors import (
    linear_partition,
    vector_knowledge,
    vector_observation,
)
from splitveil.threat import Observation, WhiteBox

_TWO_PI_E = 2 * math.pi * math.e


@dataclass(frozen=True, eq=False)
class LinearGaussian:
    """X ~ N(m, S) in d dimensions, sent as Z = A X + b + s E with E ~ N(0, I) in f dimensions.

    `mean` m (d), `covariance` S (d, d) positive definite, `matrix` A (f, d), `offset` b (f) and
    `sigma` s >= 0, all float64. Closed forms follow from (X, Z) being jointly Gaussian with
    Cov Z = C = A S Aᵀ + s² I and Cov(X, Z) = S Aᵀ; C⁻¹ is a pseudo-inverse where s = 0.
    Units: nats, and squared input units per dimension.

    Example:
        >>> import torch
        >>> from splitveil.testing.oracles import LinearGaussian
        >>> eye = torch.eye(3, dtype=torch.float64)
        >>> zero = torch.zeros(3, dtype=torch.float64)
        >>> problem = LinearGaussian(zero, eye, eye, zero, 0.5)
        >>> round(problem.mmse, 12), round(problem.entropy_bound, 12)
        (0.2, 0.2)

    Raises:
        BadInput: if shapes do not fit, S is not positive definite, or s is negative.
    """

    mean: Float64[Tensor, " d"]
    covariance: Float64[Tensor, "d d"]
    matrix: Float64[Tensor, "f d"]
    offset: Float64[Tensor, " f"]
    sigma: float

    def __post_init__(self) -> None:
        d, f = len(self.mean), len(self.offset)
        if self.covariance.shape != (d, d) or self.matrix.shape != (f, d):
            raise BadInput(
                f"mean of {d} and offset of {f} values need a covariance of shape ({d}, {d}) and "
                f"a matrix of shape ({f}, {d}), got {tuple(self.covariance.shape)} and "
                f"{tuple(self.matrix.shape)}"
            )
        if int(torch.linalg.cholesky_ex(self.covariance).info):
            raise BadInput("the covariance must be positive definite")
        if not 0 <= self.sigma < math.inf:
            raise BadInput(f"sigma must be at least 0 and finite, got {self.sigma}")

    @staticmethod
    def random(dimensions: int, features: int, rng: Rng, *, sigma: float = 0.5) -> "LinearGaussian":
        """A problem with N(0, 1/d) matrix and a covariance of condition number at most about 50."""
        generator = rng.child("linear gaussian").torch()

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        factor = normal(dimensions, dimensions) / math.sqrt(dimensions)
        covariance = factor @ factor.T + 0.1 * torch.eye(dimensions, dtype=torch.float64)
        matrix = normal(features, dimensions) / math.sqrt(dimensions)
        return LinearGaussian(normal(dimensions), covariance, matrix, normal(features), sigma)

    @staticmethod
    def pooling(blocks: int, size: int) -> "LinearGaussian":
        """Unit normal values averaged in blocks, without noise: the mmse is 1 - 1 / `size`.

        What is left is the variance within blocks, as behind average pooling.
        """
        eye = torch.eye(blocks * size, dtype=torch.float64)
        mean = torch.zeros(blocks * size, dtype=torch.float64)
        matrix = torch.eye(blocks, dtype=torch.float64).repeat_interleave(size, 1) / size
        return LinearGaussian(mean, eye, matrix, matrix.new_zeros(blocks), 0.0)

    @property
    def dimensions(self) -> int:
        """The number d of input values."""
        return len(self.mean)

    @cached_property
    def gain(self) -> Float64[Tensor, "d f"]:
        """The Wiener gain G = S Aᵀ C⁻¹: the normal equations E[(X - m - G(Z - EZ)) Zᵀ] = 0."""
        cross = self.covariance @ self.matrix.T
        received = self.matrix @ cross
        if self.sigma == 0:
            return cross @ torch.linalg.pinv(received, hermitian=True, rtol=1e-12)
        received = received + self.sigma**2 * torch.eye(len(received), dtype=torch.float64)
        return torch.linalg.solve(received, cross.T).T

    @cached_property
    def posterior_covariance(self) -> Float64[Tensor, "d d"]:
        """P = S - S Aᵀ C⁻¹ A S: Gaussian conditioning; the same for every z.

        Computed in Joseph's form (I - GA) S (I - GA)ᵀ + s² G Gᵀ, a sum of squares, hence never
        indefinite: it is the error covariance of the affine answer with gain G.
        """
        keep = torch.eye(self.dimensions, dtype=torch.float64) - self.gain @ self.matrix
        return keep @ self.covariance @ keep.T + self.sigma**2 * self.gain @ self.gain.T

    def posterior_mean(self, z: Float64[Tensor, "n f"]) -> Float64[Tensor, "n d"]:
        """E[X | z] = m + G (z - A m - b): the answer no attacker can beat in squared error."""
        return self.mean + (z - self.matrix @ self.mean - self.offset) @ self.gain.T

    @property
    def mmse(self) -> float:
        """E|X - E[X|Z]|² / d = tr P / d: the least squared error of any attacker."""
        return float(self.posterior_covariance.trace()) / self.dimensions

    @property
    def prior_entropy(self) -> float:
        """H(X) = ½ logdet(2πe S)."""
        return 0.5 * float(self.covariance.logdet() + self.dimensions * math.log(_TWO_PI_E))

    @property
    def information(self) -> float:
        """I(X; Z) = h(Z) - h(Z | X) = ½ logdet(C / s²) = ½ logdet(I + A S Aᵀ / s²).

        Infinite without noise, unless A = 0.
        """
        if self.sigma == 0:
            return math.inf if bool(self.matrix.any()) else 0.0
        root = self.matrix @ torch.linalg.cholesky(self.covariance) / self.sigma
        return 0.5 * float(torch.linalg.svdvals(root).square().log1p().sum())

    @property
    def entropy(self) -> float:
        """H(X | Z) = h(X) - I(X; Z) = ½ logdet(2πe P); -inf where Z fixes a direction of X."""
        return self.prior_entropy - self.information

    @property
    def entropy_bound(self) -> float:
        """exp(2 h(X|Z) / d) / (2πe) <= mmse.

        It is the geometric mean of P's eigenvalues, the mmse their arithmetic mean: equal exactly
        where P is a multiple of I.
        """
        return math.exp(2 * self.entropy / self.dimensions) / _TWO_PI_E

    @property
    def van_trees(self) -> float:
        """The trace form d / tr(AᵀA / s² + S⁻¹) <= mmse.

        The Bayesian information J = AᵀA/s² + S⁻¹ equals P⁻¹ (Woodbury), so this is the harmonic
        mean of P's eigenvalues.
        """
        if self.sigma == 0:
            return 0.0 if bool(self.matrix.any()) else self._harmonic(torch.zeros(()))
        return self._harmonic(self.matrix.square().sum() / self.sigma**2)

    def _harmonic(self, fisher_trace: Tensor) -> float:
        prior = torch.linalg.inv(self.covariance).trace()
        return self.dimensions / float(fisher_trace + prior)

    def affine_error(
        self, weights: Float64[Tensor, "d f"], constant: Float64[Tensor, " d"]
    ) -> float:
        """Exact E|X - (W Z + c)|² / d of any affine attack.

        The error is (I - WA)(X - m) - s W E + (m - W(A m + b) - c): three independent parts, of
        which the first two are centred, so their squares add.
        """
        keep = torch.eye(self.dimensions, dtype=torch.float64) - weights @ self.matrix
        bias = self.mean - weights @ (self.matrix @ self.mean + self.offset) - constant
        spread = (keep @ self.covariance @ keep.T).trace()
        noise = self.sigma**2 * weights.square().sum()
        return float(spread + noise + bias.square().sum()) / self.dimensions

    def targets(self, n: int, rng: Rng) -> Float64[Tensor, "n d"]:
        """Independent draws of X: m + L E with S = L Lᵀ."""
        noise = torch.randn(
            (n, self.dimensions), generator=rng.child("targets").torch(), dtype=torch.float64
        )
        return self.mean + noise @ torch.linalg.cholesky(self.covariance).T

    def release(self, dtype: torch.dtype = torch.float64) -> Release:
        """The noise alone: an unclipped Gaussian release, or the identity where s = 0."""
        if self.sigma == 0:
            return Identity()
        return ClippedGaussian(self.offset.to(dtype), math.inf, self.sigma)

    def partition(self, dtype: torch.dtype = torch.float64) -> Partition:
        """The problem as a partition: head A x + b, release N(0, s²), identity tail."""
        return linear_partition(
            "linear-gaussian", self.matrix.to(dtype), self.offset.to(dtype), self.release(dtype)
        )

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
