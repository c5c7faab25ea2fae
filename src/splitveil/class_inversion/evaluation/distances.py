"""How far reconstructions are from private images, in a judge's features."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float, Int64
from scipy import stats
from torch import Tensor

from splitveil.errors import BadData
from splitveil.quantities import Kind, Quantity
from splitveil.shapes import Features, Labels

OtherFeatures: TypeAlias = Float[Tensor, "n2 f"]
OtherLabels: TypeAlias = Int64[Tensor, " n2"]
_CHUNK = 1024


def nearest_in_class(
    found: Features, labels: Labels, private: OtherFeatures, private_labels: OtherLabels
) -> Float[Tensor, " n"]:
    """Squared Euclidean distance of each image to the nearest private image of its class, float64.

    Raises:
        BadData: if a class has no private image.
    """
    every_class(labels, private_labels)
    others = private.double()
    parts = []
    for x, y in zip(found.double().split(_CHUNK), labels.split(_CHUNK), strict=True):
        apart = torch.cdist(x, others, compute_mode="donot_use_mm_for_euclid_dist").square()
        apart[y[:, None] != private_labels[None]] = math.inf
        parts.append(apart.amin(1))
    return torch.cat(parts)


def to_class_mean(
    found: Features, labels: Labels, private: OtherFeatures, private_labels: OtherLabels
) -> Float[Tensor, " n"]:
    """Squared Euclidean distance of each image to the mean of its class's private images, float64.

    Raises:
        BadData: if a class has no private image.
    """
    every_class(labels, private_labels)
    size = int(max(labels.max(), private_labels.max())) + 1
    sums = torch.zeros(size, private.shape[1], dtype=torch.float64)
    sums.index_add_(0, private_labels, private.double())
    means = sums / private_labels.bincount(minlength=size).clamp(min=1)[:, None]
    return (found.double() - means[labels]).square().sum(1)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Kernel sums between classes: between reconstructions, private images, and the two."""

    own: Tensor
    private: Tensor
    across: Tensor
    own_diagonal: Tensor
    private_diagonal: Tensor
    own_count: Tensor
    private_count: Tensor

    def statistic(self, without: Tensor) -> Tensor:
        """Unbiased squared MMD with the classes of each row of `without` (r, n) left out."""
        kept = 1 - without.double()

        def total(sums: Tensor) -> Tensor:
            return torch.einsum("ri,ij,rj->r", kept, sums, kept)

        m, n = kept @ self.own_count, kept @ self.private_count
        own = (total(self.own) - kept @ self.own_diagonal) / (m * (m - 1))
        private = (total(self.private) - kept @ self.private_diagonal) / (n * (n - 1))
        return own + private - 2 * total(self.across) / (m * n)


def kernel_distance(
    found: Features, labels: Labels, private: OtherFeatures, private_labels: OtherLabels
) -> Quantity:
    """KID: unbiased squared MMD with the kernel (<x, y> / f + 1)³, over all pairs, in float64.

    Between reconstructions and private images of the same classes. Its error is a jackknife that
    leaves each class out of both, its interval Student's at 95 %. May be below 0, near which the
    two cannot be told apart. Features are a judge's, not Inception's: it compares with no published
    number. Kind: measured; n is the number of reconstructions.

    References: Bińkowski et al. 2018.

    Raises:
        BadData: if there are fewer than three classes or two images of either kind a class left.
    """
    every_class(labels, private_labels)
    names, row = labels.unique(return_inverse=True)
    inside = torch.isin(private_labels, names)
    private, private_labels = private[inside], private_labels[inside]
    if len(names) < 3:
        raise BadData(f"a kernel distance with its error needs 3 classes or more, got {len(names)}")
    sums = _kernel_sums(
        found.double(), row, private.double(), torch.searchsorted(names, private_labels)
    )
    value = float(sums.statistic(torch.zeros(1, len(names)))[0])
    others = sums.statistic(torch.eye(len(names)))
    count = len(names)
    error = math.sqrt((count - 1) / count * float((others - others.mean()).square().sum()))
    half = float(stats.t.ppf(0.975, count - 1)) * error
    return Quantity(
        value=value,
        low=value - half,
        high=value + half,
        unit="squared MMD",
        kind=Kind.MEASURED,
        n=len(found),
        assumptions=(
            "classes are independent draws",
            f"{len(found)} reconstructions, {len(private)} private images",
            "features of a judge, not of Inception",
        ),
    )


def _kernel_sums(x: Tensor, row: Tensor, y: Tensor, column: Tensor) -> _Sums:
    size = int(row.max()) + 1

    def summed(a: Tensor, i: Tensor, b: Tensor, j: Tensor) -> Tensor:
        total = torch.zeros(size, size, dtype=torch.float64)
        for part, place in zip(a.split(_CHUNK), i.split(_CHUNK), strict=True):
            by_column = torch.zeros(len(part), size, dtype=torch.float64)
            by_column.index_add_(1, j, (part @ b.T / a.shape[1] + 1) ** 3)
            total.index_add_(0, place, by_column)
        return total

    def diagonal(a: Tensor, i: Tensor) -> Tensor:
        own = (a.square().sum(1) / a.shape[1] + 1) ** 3
        return torch.zeros(size, dtype=torch.float64).index_add_(0, i, own)

    return _Sums(
        own=summed(x, row, x, row),
        private=summed(y, column, y, column),
        across=summed(x, row, y, column),
        own_diagonal=diagonal(x, row),
        private_diagonal=diagonal(y, column),
        own_count=row.bincount(minlength=size).double(),
        private_count=column.bincount(minlength=size).double(),
    )


def every_class(labels: Labels, private_labels: OtherLabels) -> None:
    """Refuse images of a class that has no private image.

    Raises:
        BadData: naming one.
    """
    missing = labels.unique()[~torch.isin(labels.unique(), private_labels)]
    if len(missing):
        raise BadData(
            f"class {int(missing[0])} has no private image to compare with: give images of every "
            "class attacked"
        )
