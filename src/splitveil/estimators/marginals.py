"""Densities fitted to what is sent, against which a variational rate is measured."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from splitveil.errors import BadData
from splitveil.estimators.log_det import top_directions
from splitveil.shapes import Features, Labels

OtherFeatures: TypeAlias = Float[Tensor, "n2 f"]
OtherLabels: TypeAlias = Int64[Tensor, " n2"]
_BLOCK_VALUES = 1 << 22
_LOG_TWO_PI = math.log(2 * math.pi)


class Marginal(ABC):
    """A density of what is sent; it may look at the image's label where the claim allows it."""

    @abstractmethod
    def log_density(
        self, z: Float64[Tensor, "n f"], labels: Labels | None = None
    ) -> Float64[Tensor, " n"]:
        """Nats, one value a row."""

    def __str__(self) -> str:
        return "fitted density"


@dataclass(frozen=True, eq=False)
class DiagonalGaussian(Marginal):
    """N(mean, diag(variances)) in f dimensions."""

    mean: Float64[Tensor, " f"]
    variances: Float64[Tensor, " f"]

    def log_density(
        self, z: Float64[Tensor, "n f"], labels: Labels | None = None
    ) -> Float64[Tensor, " n"]:
        squared = ((z - self.mean).square() / self.variances).sum(1)
        return -0.5 * (squared + self.variances.log().sum() + z.shape[1] * _LOG_TWO_PI)

    def __str__(self) -> str:
        return "diagonal Gaussian"

    @staticmethod
    def fit(z: Float64[Tensor, "n f"], floor: float) -> "DiagonalGaussian":
        """Sample mean and variances, none below `floor`."""
        return DiagonalGaussian(z.mean(0), z.var(0, correction=0).clamp_min(floor))


@dataclass(frozen=True, eq=False)
class LowRankGaussian(Marginal):
    """N(mean, P diag(v) Pᵀ + rest (I - P Pᵀ)): free variances along orthonormal directions P.

    The form of probabilistic principal components. `rest` is any positive number where P spans
    everything.
    """

    mean: Float64[Tensor, " f"]
    directions: Float64[Tensor, "f m"]
    variances: Float64[Tensor, " m"]
    rest: float

    @property
    def log_det(self) -> float:
        """Log determinant of the covariance."""
        f, m = self.directions.shape
        return float(self.variances.log().sum()) + (f - m) * math.log(self.rest)

    @property
    def least(self) -> float:
        """The smallest eigenvalue of the covariance."""
        smallest = float(self.variances.min()) if len(self.variances) else math.inf
        f, m = self.directions.shape
        return smallest if f == m else min(smallest, self.rest)

    def whitened(self, z: Float64[Tensor, "n f"]) -> Float64[Tensor, "n g"]:
        """Rows whose squared distances are those under the covariance: f + m values each.

        Where P does not span everything the first f are what P leaves over, in units of rest.
        """
        inside = z @ self.directions
        outside = (z - inside @ self.directions.T) / math.sqrt(self.rest)
        if self.directions.shape[0] == self.directions.shape[1]:
            outside = torch.zeros_like(outside)
        return torch.cat([outside, inside / self.variances.sqrt()], 1)

    def squared(self, z: Float64[Tensor, "n f"]) -> Float64[Tensor, " n"]:
        """(z - mean)ᵀ C⁻¹ (z - mean) of each row, a block of rows at a time."""
        rows = max(1, _BLOCK_VALUES // z.shape[1])
        blocks = [self.whitened(block - self.mean).square().sum(1) for block in z.split(rows)]
        return torch.cat(blocks)

    def log_density(
        self, z: Float64[Tensor, "n f"], labels: Labels | None = None
    ) -> Float64[Tensor, " n"]:
        return -0.5 * (self.squared(z) + self.log_det + z.shape[1] * _LOG_TWO_PI)

    def __str__(self) -> str:
        return f"Gaussian with {len(self.variances)} free directions"

    @staticmethod
    def fit(
        mean: Float64[Tensor, " f"],
        directions: Float64[Tensor, "f m"],
        z: Float64[Tensor, "n f"],
        floor: float,
    ) -> "LowRankGaussian":
        """Second moments of z about `mean` along and off the directions, none below `floor`.

        Give other images than those the directions came from: along its own directions a sample's
        variance is too large, and off them too small.
        """
        centred = z - mean
        variances = (centred @ directions).square().mean(0)
        left = directions.shape[0] - directions.shape[1]
        total = float(centred.square().sum()) / len(z)
        rest = (total - float(variances.sum())) / left if left else 1.0
        return LowRankGaussian(mean, directions, variances.clamp_min(floor), max(rest, floor))


@dataclass(frozen=True, eq=False)
class ClassConditional(Marginal):
    """One Gaussian a class about its own mean, all with the covariance of `shape`."""

    means: Float64[Tensor, "k f"]
    shape: LowRankGaussian

    def log_density(
        self, z: Float64[Tensor, "n f"], labels: Labels | None = None
    ) -> Float64[Tensor, " n"]:
        """Of the row's own class.

        Raises:
            BadData: if there are no labels.
        """
        if labels is None:
            raise BadData("a density given the class needs labels")
        return self.shape.log_density(z - self.means[labels])

    def __str__(self) -> str:
        return f"{self.shape} about each class mean"


@dataclass(frozen=True, eq=False)
class ClassMixture(Marginal):
    """The mixture over classes of `classes`, with the given log shares; it looks at no label."""

    log_shares: Float64[Tensor, " k"]
    classes: ClassConditional

    def log_density(
        self, z: Float64[Tensor, "n f"], labels: Labels | None = None
    ) -> Float64[Tensor, " n"]:
        shape = self.classes.shape
        a, b = shape.whitened(z), shape.whitened(self.classes.means)
        middle = b.mean(0)
        a, b = a - middle, b - middle
        squared = a.square().sum(1)[:, None] - 2 * a @ b.T + b.square().sum(1)
        constant = shape.log_det + z.shape[1] * _LOG_TWO_PI
        return (self.log_shares - 0.5 * (squared.clamp_min(0) + constant)).logsumexp(1)

    def __str__(self) -> str:
        return f"mixture over classes of {self.classes}"


def shrunk_class_means(
    z: Float64[Tensor, "n f"], labels: Labels, classes: int, *, weight: float = 1.0
) -> Float64[Tensor, "k f"]:
    """Class means drawn towards the mean of all as if `weight` more images lay there."""
    overall = z.mean(0)
    counts = labels.bincount(minlength=classes).double()[:, None]
    sums = torch.zeros(classes, z.shape[1], dtype=torch.float64).index_add_(0, labels, z)
    return (sums + weight * overall) / (counts + weight)


def fit_low_rank(
    shape: Features, scale: OtherFeatures, ranks: Sequence[int], floor: float
) -> list[LowRankGaussian]:
    """One density a rank: mean and directions of `shape`, variances of `scale`.

    The two samples must have no image in common. One eigenproblem serves all ranks.

    Raises:
        BadData: if a sample has fewer than two images.
    """
    if len(scale) < 2:
        raise BadData(f"variances need at least 2 images, got {len(scale)}")
    first, second = shape.double(), scale.double()
    mean, directions = first.mean(0), top_directions(first, max(ranks))
    return [LowRankGaussian.fit(mean, directions[:, :rank], second, floor) for rank in ranks]


def fit_class_mixture(
    shape: Features,
    shape_labels: Labels,
    scale: OtherFeatures,
    scale_labels: OtherLabels,
    *,
    classes: int,
    ranks: Sequence[int],
    floor: float,
) -> list[ClassMixture]:
    """One density a rank: class means and directions of `shape`, inner variances of `scale`.

    Args:
        shape: features, and `shape_labels` their classes in 0 .. classes - 1.
        shape_labels: see `shape`.
        scale: features of other images, and `scale_labels` their classes.
        scale_labels: see `scale`.
        classes: how many there are; those without images get the mean of all.
        ranks: how many directions have a variance of their own.
        floor: least variance.
    """
    first, second = shape.double(), scale.double()
    means = shrunk_class_means(first, shape_labels, classes)
    counts = shape_labels.bincount(minlength=classes).double() + 1
    shares = (counts / counts.sum()).log()
    directions = top_directions(first - means[shape_labels], max(ranks))
    zero, inner = torch.zeros(first.shape[1], dtype=torch.float64), second - means[scale_labels]
    fitted = [LowRankGaussian.fit(zero, directions[:, :rank], inner, floor) for rank in ranks]
    return [ClassMixture(shares, ClassConditional(means, shape)) for shape in fitted]
