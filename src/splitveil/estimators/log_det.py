"""Gaussian information ½ logdet(I + S / noise²) of features, by routes of known bias."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from splitveil.errors import BadData, BadInput
from splitveil.shapes import Features


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues of a covariance in D dimensions: some by value, the rest all equal to `rest`."""

    values: Float64[Tensor, " r"]
    rest: float
    dimensions: int

    @property
    def trace(self) -> float:
        """Their sum."""
        return float(self.values.sum()) + (self.dimensions - len(self.values)) * self.rest

    def information(self, noise: float) -> float:
        """½ sum log(1 + v / noise²), nats, total: what Gaussian features tell through the noise.

        It is the most that features of this covariance can tell, whatever their law.

        Raises:
            BadInput: if the noise is not positive and finite.
        """
        power = checked_noise(noise) ** 2
        others = (self.dimensions - len(self.values)) * math.log1p(self.rest / power)
        return 0.5 * (float((self.values / power).log1p().sum()) + others)


def checked_noise(noise: float) -> float:
    """The standard deviation of an observation noise, refused where nothing can be said.

    Raises:
        BadInput: if it is not positive and finite.
    """
    if not 0 < noise < math.inf:
        raise BadInput(
            f"the observation noise must be positive and finite, got {noise}: without noise "
            "deterministic features carry everything"
        )
    return noise


def trace_information(trace: float, dimensions: int, noise: float) -> float:
    """(D / 2) log(1 + trace / (D noise²)), nats: what any covariance of that trace allows at most.

    Raises:
        BadInput: if the noise is not positive and finite.
    """
    return 0.5 * dimensions * math.log1p(trace / (dimensions * checked_noise(noise) ** 2))


def sample_spectrum(z: Features) -> Spectrum:
    """Eigenvalues of the sample covariance (divisor n), from the smaller of its two Gram forms.

    Costs min(n, D)² max(n, D). `information` of it is biased low, badly where n is not far above
    D: the log-determinant is concave.

    Raises:
        BadData: if there are fewer than two images.
    """
    if len(z) < 2:
        raise BadData(f"a covariance needs at least 2 images, got {len(z)}")
    centred = z.detach().double().cpu()
    centred = centred - centred.mean(0)
    n, dimensions = centred.shape
    gram = centred @ centred.T if n <= dimensions else centred.T @ centred
    return Spectrum(torch.linalg.eigvalsh(gram / n).clamp_min(0), 0.0, dimensions)


def oas_spectrum(sample: Spectrum, n: int) -> Spectrum:
    """Oracle-approximating shrinkage of a sample spectrum towards its mean eigenvalue.

    (1 - r) v + r t1 / D with r = min(1, [(1 - 2/D) t2 + t1²] / [(n - 2/D) (t2 - t1² / D)]), t1 and
    t2 the sums of v and v², n images less one. It raises the log-determinant; the result may lie
    on either side of the truth.

    References:
        Chen, Wiesel, Eldar and Hero 2010.
    """
    d = sample.dimensions
    t1, t2 = float(sample.values.sum()), float(sample.values.square().sum())
    gap = t2 - t1**2 / d
    scale = (n - 2 / d) * gap
    share = min(1.0, ((1 - 2 / d) * t2 + t1**2) / scale) if scale > 0 else 1.0
    mean = share * t1 / d
    return Spectrum((1 - share) * sample.values + mean, mean, d)


def top_directions(z: Features, count: int) -> Float64[Tensor, "f m"]:
    """Orthonormal columns that hold the most of the sample variance, at most n - 1 of them.

    Raises:
        BadData: if there are fewer than two images.
    """
    if len(z) < 2:
        raise BadData(f"directions need at least 2 images, got {len(z)}")
    centred = z.detach().double().cpu()
    centred = centred - centred.mean(0)
    n, dimensions = centred.shape
    count = min(count, n - 1, dimensions)
    if n <= dimensions:
        _, vectors = torch.linalg.eigh(centred @ centred.T)
        spanned = centred.T @ vectors[:, n - count :]
        return torch.linalg.qr(spanned.flip(1)).Q
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    return vectors[:, dimensions - count :].flip(1)


def ladder_spectrum(z: Features, directions: Float64[Tensor, "f2 m"]) -> Spectrum:
    """Exact spectrum of z within the given directions, its remaining trace spread evenly.

        logdet(I + S / s²) <= logdet(I + Pᵀ S P / s²) + (D - m) log(1 + rem / ((D - m) s²))

    by Fischer's and the mean inequality, for orthonormal P and rem = tr S - tr Pᵀ S P. Directions
    must come from other images than z, or the left side is not bounded. No directions give the
    trace form, all of them the exact value.

    Raises:
        BadInput: if the directions do not fit the features.
    """
    if directions.shape[0] != z.shape[1]:
        raise BadInput(f"directions of {directions.shape[0]} values, features of {z.shape[1]}")
    centred = z.detach().double().cpu()
    centred = centred - centred.mean(0)
    n, dimensions = centred.shape
    inside = centred @ directions
    values = torch.linalg.eigvalsh(inside.T @ inside / n).clamp_min(0)
    left = dimensions - directions.shape[1]
    total = float(centred.square().sum()) / n
    rest = max(0.0, total - float(values.sum())) / left if left else 0.0
    return Spectrum(values, rest, dimensions)
