"""Declared sources of images: densities whose scores are known in closed form."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from splitveil.errors import BadInput
from splitveil.measures.checks import OtherLabels, finite
from splitveil.rng import Rng
from splitveil.shapes import Targets


@dataclass(frozen=True, eq=False)
class MixtureSource:
    """X ~ sum_k pi_k N(m_k, S_k) in d dimensions, given out in `shape`.

    `weights` pi (k) sum to 1, `means` (k, d), `covariances` (k, d, d) positive definite, float64.

    Raises:
        BadInput: if shapes do not fit, weights are no probabilities, or a covariance is not
            positive definite.
    """

    weights: Float64[Tensor, " k"]
    means: Float64[Tensor, "k2 d"]
    covariances: Float64[Tensor, "k3 d2 d2"]
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        parts, d = self.means.shape
        if self.covariances.shape != (parts, d, d) or len(self.weights) != parts:
            raise BadInput(
                f"means of shape ({parts}, {d}) need {parts} weights and covariances of shape "
                f"({parts}, {d}, {d}), got {len(self.weights)} and {tuple(self.covariances.shape)}"
            )
        if math.prod(self.shape) != d:
            raise BadInput(f"shape {self.shape} does not hold {d} values")
        if not bool((self.weights > 0).all()) or abs(float(self.weights.sum()) - 1) > 1e-9:
            raise BadInput("weights of a mixture must be positive and sum to 1")
        if bool(torch.linalg.cholesky_ex(self.covariances).info.any()):
            raise BadInput("covariances must be positive definite")

    @staticmethod
    def gaussian(
        mean: Float64[Tensor, " d"], covariance: Float64[Tensor, "d d"]
    ) -> "MixtureSource":
        """One component, of vectors."""
        one = torch.ones(1, dtype=torch.float64)
        return MixtureSource(one, mean[None], covariance[None], tuple(mean.shape))

    @staticmethod
    def twin(x: Targets, labels: OtherLabels | None = None, *, noise: float) -> "MixtureSource":
        """A source like `x`: one Gaussian a class, with its moments plus `noise`² I.

        It is a declared stand-in, not the law of the images: what holds for it holds for images
        drawn from it and sent through the real head.

        Raises:
            BadInput: if noise is not positive, counts differ, or x is empty or not finite.
        """
        if not 0 < noise < math.inf:
            raise BadInput(f"noise of a twin must be positive and finite, got {noise}")
        if labels is not None and len(labels) != len(x):
            raise BadInput(f"{len(x)} images for {len(labels)} labels: give one of each")
        if not len(x):
            raise BadInput("a twin needs at least 1 image, got none")
        finite(x, "images")
        flat = x.flatten(1).double().cpu()
        groups = [flat]
        if labels is not None:
            groups = [flat[labels.cpu() == label] for label in labels.cpu().unique()]
        means = torch.stack([group.mean(0) for group in groups])
        floor = noise**2 * torch.eye(flat.shape[1], dtype=torch.float64)
        spreads = [(g - m).T @ (g - m) / len(g) + floor for g, m in zip(groups, means, strict=True)]
        counts = torch.tensor([len(group) for group in groups], dtype=torch.float64)
        return MixtureSource(counts / counts.sum(), means, torch.stack(spreads), tuple(x.shape[1:]))

    @cached_property
    def _factors(self) -> Float64[Tensor, "k d d"]:
        return torch.linalg.cholesky(self.covariances)

    @property
    def information_cap(self) -> Float64[Tensor, "d d"]:
        """Sum_k pi_k S_k⁻¹ >= J_P = E[score scoreᵀ], as Fisher information is convex.

        Equal for a single component; near where components are far apart.
        """
        return (self.weights[:, None, None] * torch.cholesky_inverse(self._factors)).sum(0)

    def draw(self, n: int, rng: Rng) -> Targets:
        """Independent draws in `shape`."""
        generator = rng.child("source").torch()
        parts = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        d = self.means.shape[1]
        noise = torch.randn(n, d, generator=generator, dtype=torch.float64)
        x = torch.empty_like(noise)
        for part in range(len(self.weights)):
            chosen = parts == part
            x[chosen] = self.means[part] + noise[chosen] @ self._factors[part].T
        return x.reshape(n, *self.shape)

    def score(self, x: Float[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """Gradient of log q at x: sum_k gamma_k(x) S_k⁻¹ (m_k - x)."""
        offsets = self.means[:, None] - x.double()
        white = torch.linalg.solve_triangular(self._factors, offsets.transpose(1, 2), upper=False)
        volume = self._factors.diagonal(dim1=1, dim2=2).log().sum(1)
        logs = self.weights.log()[:, None] - volume[:, None] - 0.5 * white.square().sum(1)
        pulls = torch.linalg.solve_triangular(
            self._factors.transpose(1, 2), white, upper=True
        ).transpose(1, 2)
        return (logs.softmax(0)[..., None] * pulls).sum(0)
