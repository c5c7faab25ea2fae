"""A Gaussian mixture seen through a linear map and noise: exact posteriors, labels included."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float64, Int64
from scipy import integrate
from torch import Tensor

from splitveil.errors import BadInput
from splitveil.partition.types import Partition
from splitveil.quantities import Kind, Quantity
from splitveil.release.gaussian import ClippedGaussian
from splitveil.rng import Rng
from splitveil.testing.oracles.vectors import linear_partition

_TWO_PI_E = 2 * math.pi * math.e


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """Y ~ p, X given Y = c ~ N(m_c, S_c) in d dimensions, sent as Z = A X + b + s E in f of them.

    Given c, (X, Z) is jointly Gaussian, so with T_c = A S_c Aᵀ + s² I and G_c = S_c Aᵀ T_c⁻¹:

        p(c | z) ~ p_c N(z; A m_c + b, T_c)
        E[X | z] = sum p(c | z) (m_c + G_c (z - A m_c - b))
        tr Cov(X | z) = sum p(c | z) (tr P_c + |E[X | z, c]|²) - |E[X | z]|²,  P_c = S_c - G_c A S_c

    `weights` p (k), `means` (k, d), `covariances` (k, d, d) positive semidefinite: zero ones make X
    a finite gallery. `matrix` (f, d), `offset` (f), `sigma` > 0; all float64. Units: nats, and
    squared input units per dimension.

    Raises:
        BadInput: if shapes do not fit, weights are no distribution, a covariance is not positive
            semidefinite, or sigma is not positive.
    """

    weights: Float64[Tensor, " k"]
    means: Float64[Tensor, "k d"]
    covariances: Float64[Tensor, "k d d"]
    matrix: Float64[Tensor, "f d"]
    offset: Float64[Tensor, " f"]
    sigma: float

    def __post_init__(self) -> None:
        (k, d), f = self.means.shape, len(self.offset)
        if self.covariances.shape != (k, d, d) or self.matrix.shape != (f, d):
            raise BadInput(
                f"means of shape ({k}, {d}) and {f} offsets need covariances of shape ({k}, {d}, "
                f"{d}) and a matrix of shape ({f}, {d}), got {tuple(self.covariances.shape)} and "
                f"{tuple(self.matrix.shape)}"
            )
        if len(self.weights) != k or abs(float(self.weights.sum()) - 1) > 1e-9:
            raise BadInput(f"{k} components need {k} weights that sum to 1")
        if not bool((self.weights > 0).all()) or not 0 < self.sigma < math.inf:
            raise BadInput("weights and sigma must be positive")
        if float(torch.linalg.eigvalsh(self.covariances).min()) < -1e-9:
            raise BadInput("every covariance must be positive semidefinite")

    @staticmethod
    def random(
        components: int,
        dimensions: int,
        features: int,
        rng: Rng,
        *,
        sigma: float = 0.5,
        spread: float = 2.0,
    ) -> "GaussianMixture":
        """A problem with means of deviation `spread` and covariances of trace about 0.35 d."""
        generator = rng.child("gaussian mixture").torch()

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        factor = 0.5 * normal(components, dimensions, dimensions) / math.sqrt(dimensions)
        ridge = 0.1 * torch.eye(dimensions, dtype=torch.float64)
        weights = (0.5 * normal(components)).softmax(0)
        return GaussianMixture(
            weights,
            spread * normal(components, dimensions),
            factor @ factor.transpose(1, 2) + ridge,
            normal(features, dimensions) / math.sqrt(dimensions),
            normal(features),
            sigma,
        )

    @property
    def dimensions(self) -> int:
        """The number d of input values."""
        return self.means.shape[1]

    @cached_property
    def received_means(self) -> Float64[Tensor, "k f"]:
        """The mean A m_c + b of what each component sends."""
        return self.means @ self.matrix.T + self.offset

    @cached_property
    def received_covariances(self) -> Float64[Tensor, "k f f"]:
        """T_c, the covariance of what each component sends."""
        noise = self.sigma**2 * torch.eye(len(self.offset), dtype=torch.float64)
        return self.matrix @ self.covariances @ self.matrix.T + noise

    @cached_property
    def gains(self) -> Float64[Tensor, "k d f"]:
        """G_c, the Wiener gain within each component."""
        cross = self.covariances @ self.matrix.T
        return torch.linalg.solve(self.received_covariances, cross.transpose(1, 2)).transpose(1, 2)

    @cached_property
    def inner_errors(self) -> Float64[Tensor, " k"]:
        """Tr P_c: the error that is left, summed over dimensions, where the component is known."""
        left = self.covariances - self.gains @ self.matrix @ self.covariances
        return left.diagonal(dim1=1, dim2=2).sum(1)

    @cached_property
    def covariance(self) -> Float64[Tensor, "d d"]:
        """Cov X = sum p_c (S_c + m_c m_cᵀ) - m mᵀ."""
        middle = self.weights @ self.means
        offset = self.means - middle
        between = torch.einsum("k,ki,kj->ij", self.weights, offset, offset)
        return torch.einsum("k,kij->ij", self.weights, self.covariances) + between

    def log_joint(self, z: Float64[Tensor, "n f"]) -> Float64[Tensor, "n k"]:
        """Log p_c N(z; A m_c + b, T_c) for every row and component."""
        factors = torch.linalg.cholesky(self.received_covariances)
        offset = (z[None] - self.received_means[:, None]).transpose(1, 2)
        white = torch.linalg.solve_triangular(factors, offset, upper=False)
        log_det = 2 * factors.diagonal(dim1=1, dim2=2).log().sum(1)
        constant = self.weights.log() - 0.5 * (log_det + z.shape[1] * math.log(2 * math.pi))
        return (constant[:, None] - 0.5 * white.square().sum(1)).T

    def log_density(self, z: Float64[Tensor, "n f"]) -> Float64[Tensor, " n"]:
        """Log p(z)."""
        return self.log_joint(z).logsumexp(1)

    def posterior(self, z: Float64[Tensor, "n f"]) -> tuple[Tensor, Tensor]:
        """E[X | z], of shape (n, d), and tr Cov(X | z) / d, of shape (n)."""
        shares = self.log_joint(z).softmax(1)
        inner = (z[None] - self.received_means[:, None]) @ self.gains.transpose(1, 2)
        given = (self.means[:, None] + inner).transpose(0, 1)
        mean = (shares[..., None] * given).sum(1)
        apart = (shares * (given - mean[:, None]).square().sum(2)).sum(1)
        return mean, (shares @ self.inner_errors + apart) / self.dimensions

    def posterior_mean(self, z: Float64[Tensor, "n f"]) -> Float64[Tensor, "n d"]:
        """E[X | z]: the answer no attacker can beat in squared error."""
        return self.posterior(z)[0]

    @property
    def information_given_label(self) -> float:
        """I(X; Z | Y) = sum p_c ½ logdet(T_c / s²), exact."""
        log_dets = self.received_covariances.logdet()
        nats = 0.5 * (log_dets - len(self.offset) * math.log(self.sigma**2))
        return float(self.weights @ nats)

    @property
    def class_entropies(self) -> Float64[Tensor, " k"]:
        """H(X | Y = c) = ½ logdet(2 pi e S_c); -inf where S_c is singular."""
        values = torch.linalg.eigvalsh(self.covariances).clamp_min(0)
        return 0.5 * (values.log().sum(1) + self.dimensions * math.log(_TWO_PI_E))

    @property
    def mmse_given_label(self) -> float:
        """The least error where the component is known: sum p_c tr P_c / d, exact."""
        return float(self.weights @ self.inner_errors) / self.dimensions

    def exact(self) -> tuple[float, float]:
        """Least error and I(X; Z) of a problem with one feature, by quadrature to about 1e-11.

        Both are integrals over z of smooth densities: p(z) tr Cov(X | z) / d and -p(z) log p(z).

        Raises:
            BadInput: if there is more than one feature.
        """
        if len(self.offset) != 1:
            raise BadInput(f"quadrature needs one feature, got {len(self.offset)}: use sampled()")
        deviations = self.received_covariances[:, 0, 0].sqrt()
        low = float((self.received_means[:, 0] - 12 * deviations).min())
        high = float((self.received_means[:, 0] + 12 * deviations).max())
        points = int(np.ceil(24 * (high - low) / float(deviations.min()))) + 1
        z = torch.linspace(low, high, points, dtype=torch.float64)
        log_p = self.log_density(z[:, None])
        p = log_p.exp()
        error = integrate.trapezoid((p * self.posterior(z[:, None])[1]).numpy(), z.numpy())
        entropy = -integrate.trapezoid(torch.xlogy(p, p).numpy(), z.numpy())
        noise = 0.5 * math.log(_TWO_PI_E * self.sigma**2)
        return float(error), float(entropy) - noise

    def sampled(self, n: int, rng: Rng) -> tuple[Quantity, Quantity]:
        """Least error and I(X; Z) by Monte Carlo over n sends, with two standard errors each way.

        Averages tr Cov(X | z) / d and log N(noise) - log p(z): the densities are exact, only the
        outer mean is drawn.
        """
        x, _ = self.draw(n, rng)
        noise = torch.randn(
            (n, len(self.offset)), generator=rng.child("noise").torch(), dtype=torch.float64
        )
        z = x @ self.matrix.T + self.offset + self.sigma * noise
        constant = len(self.offset) * math.log(2 * math.pi * self.sigma**2)
        own = -0.5 * (noise.square().sum(1) + constant)
        rate = own - self.log_density(z)
        return _mean(self.posterior(z)[1], "mse per value"), _mean(rate, "nat per image")

    def draw(self, n: int, rng: Rng) -> tuple[Float64[Tensor, "n d"], Int64[Tensor, " n"]]:
        """Independent draws of X and their labels Y."""
        y = torch.multinomial(
            self.weights, n, replacement=True, generator=rng.child("labels").torch()
        )
        noise = torch.randn(
            (n, self.dimensions), generator=rng.child("targets").torch(), dtype=torch.float64
        )
        values, vectors = torch.linalg.eigh(self.covariances)
        roots = vectors * values.clamp_min(0).sqrt()[:, None, :]
        return self.means[y] + torch.einsum("nij,nj->ni", roots[y], noise), y

    def release(self, radius: float = math.inf) -> ClippedGaussian:
        """The noise alone; a finite radius about the middle of what is sent clips beyond it."""
        centre = self.weights @ self.received_means
        return ClippedGaussian(centre, radius, self.sigma)

    def partition(self) -> Partition:
        """The problem as a partition: head A x + b, release N(0, s²), identity tail."""
        return linear_partition("gaussian-mixture", self.matrix, self.offset, self.release())


def _mean(values: Tensor, unit: str) -> Quantity:
    mean, error = float(values.mean()), float(values.std()) / math.sqrt(len(values))
    return Quantity(
        value=mean,
        low=mean - 2 * error,
        high=mean + 2 * error,
        unit=unit,
        kind=Kind.MEASURED,
        n=len(values),
        assumptions=("two standard errors of a mean of independent draws",),
    )
