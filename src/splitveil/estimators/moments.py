"""Class-wise means and scatter of a stream of features, exact and mergeable."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, UInt64
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.estimators.scatter import Moments, summary
from splitveil.shapes import Features, Labels

_COLUMNS = 1 << 17  # values of all cells looked at together when figures are derived
_RUN = 512  # features whose squares are added before they are rounded to float64
_WIDE = 2048  # features from which rounding in a mean averages out over them
_FIRST = 16  # images of a class that choose its reference
_FAR = 8.0  # |mean|² in units of R_c² beyond which squares about zero lose digits
_GROUPS = (16, 8, 4, 2)


def groups_within(classes: int, sizes: Sequence[int], memory: int = 256 * 2**20) -> int:
    """Most jackknife groups (16, 8, 4, 2 or 0) whose sums fit in `memory` bytes over all cuts.

    A group costs 4 bytes for each class and feature of every cut; 0 groups give no intervals.
    """
    values = classes * sum(sizes)
    return next((groups for groups in _GROUPS if 4 * groups * values <= memory), 0)


@dataclass(frozen=True, eq=False)
class Cells:
    """The cell (group, class) of each image of a batch: one look serves every tensor of a pass."""

    labels: Int64[Tensor, " n"]
    index: Int64[Tensor, " n"]
    counts: Int64[Tensor, " cells"]
    labelled: bool

    @classmethod
    def of(
        cls, y: Labels | None, ids: Int64[Tensor, " n"], classes: int | None, groups: int
    ) -> "Cells":
        """Cells of images with these labels (None without classes) and ids.

        Raises:
            BadData: if labels are missing, too many, or outside 0 to K - 1.
        """
        if (y is None) is not (classes is None) or (y is not None and len(y) != len(ids)):
            raise BadData(
                "these moments were begun without labels: begin them with a class count"
                if classes is None
                else "give one label an image"
            )
        labels = torch.zeros(len(ids), dtype=torch.int64) if y is None else y.cpu()
        kinds = classes or 1
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < kinds:
            raise BadData(
                f"labels run from {int(labels.min())} to {int(labels.max())}, expected 0 to "
                f"{kinds - 1}"
            )
        index = labels
        if groups > 1:
            index = labels + kinds * _group_of(ids.cpu(), groups)
        counts = index.bincount(minlength=max(1, groups) * kinds)
        return cls(labels, index, counts, classes is not None)


class ClassMoments:
    """Accumulates class-wise moments of one cut's features in one pass.

    Cells (group, class) hold a count, sum (z - r_c) and sum |z - r_c|². The reference r_c is the
    mean of the class's first images, or zero where that mean is small beside their spread, so that
    nothing cancels; cells add, so neither batch size nor order matters but for rounding. Within a
    batch arithmetic is in the features' own precision (float64, else float32); squares are added
    and everything is derived in float64. Memory is 4 K D (1 + max(1, G)) bytes, twice that for
    float64; `groups_within` chooses G.

    Fastest on images in the order of `stream_order`.

    Args:
        classes: number K of classes, or None for images without labels.
        features: number D of features.
        groups: number G of jackknife groups; images go to one by a hash of their id.

    Raises:
        BadPlan: if a size is not positive, or groups negative.
    """

    def __init__(self, classes: int | None, features: int, *, groups: int = 16) -> None:
        if (classes is not None and classes < 1) or features < 1 or groups < 0:
            raise BadPlan(
                f"moments need classes and features of at least 1 and groups of at least 0, got "
                f"{classes}, {features}, {groups}"
            )
        self.labelled = classes is not None
        self.classes = classes or 1
        self.features = features
        self.groups = groups
        cells = max(1, groups) * self.classes
        self._shifted = self._complete = False
        self._known = torch.zeros(self.classes, dtype=torch.bool)
        self._offset = torch.zeros(self.classes, dtype=torch.bool)
        self._reference = torch.zeros(self.classes, features)
        self._count = torch.zeros(cells, dtype=torch.int64)
        self._sum = torch.zeros(cells, features)
        self._square = torch.zeros(cells, dtype=torch.float64)

    @torch.no_grad()
    def update(self, z: Features, y: Labels | None, ids: Int64[Tensor, " n"]) -> None:
        """Take in a batch of features, their labels and the ids of their images.

        Raises:
            BadData: if shapes or labels do not fit, or a feature is not finite; the accumulator
                is then as it was.
        """
        self.add(z, Cells.of(y, ids, self.classes if self.labelled else None, self.groups))

    @torch.no_grad()
    def add(self, z: Features, cells: Cells) -> None:
        """Take in a batch of features of images whose cells are known.

        Raises:
            BadData: as `update`.
            BadPlan: if the cells are of other classes or groups.
        """
        if z.shape != (len(cells.index), self.features):
            raise BadData(
                f"expected features of shape ({len(cells.index)}, {self.features}), one row an id, "
                f"got {tuple(z.shape)}"
            )
        if len(cells.counts) != len(self._count) or cells.labelled is not self.labelled:
            raise BadPlan("cells are of other classes or groups than these moments")
        if not len(z):
            return
        values = z.detach().cpu()
        self._widen(values.dtype)
        values = values.to(self._sum.dtype)
        self._introduce(values, cells.labels)
        if self._shifted and bool(self._offset[cells.labels].any()):
            values = values - self._reference.index_select(0, cells.labels)
        squares = _squared_norms(values)
        self._sum.index_add_(0, cells.index, values)
        self._square.index_add_(0, cells.index, squares)
        self._count += cells.counts

    def _introduce(self, z: Tensor, labels: Tensor) -> None:
        """Choose the reference of classes seen for the first time."""
        if self._complete:
            return
        fresh = (labels.bincount(minlength=self.classes) > 0) & ~self._known
        if bool(fresh.any()):
            _check_finite(z)
        for label in fresh.nonzero().flatten().tolist():
            first = z[(labels == label).nonzero().flatten()[:_FIRST]]
            mean = first.mean(0)
            # the spread about a mean of one is no spread
            spread = _spread_of(z[:_FIRST] if len(first) == 1 else first)
            if self.features < _WIDE or float(mean.square().sum()) > _FAR * spread:
                self._reference[label] = mean
                self._offset[label] = True
                self._shifted = True
        self._known |= fresh
        self._complete = bool(self._known.all())

    def _widen(self, dtype: torch.dtype) -> None:
        if dtype is torch.float64 and self._sum.dtype is not torch.float64:
            self._sum, self._reference = self._sum.double(), self._reference.double()

    @torch.no_grad()
    def merge(self, other: "ClassMoments") -> None:
        """Take in all that `other` has seen; `other` stays as it is.

        Raises:
            BadPlan: if the two were begun with different sizes.
        """
        if (self.labelled, self.classes, self.features, self.groups) != (
            other.labelled,
            other.classes,
            other.features,
            other.groups,
        ):
            raise BadPlan("moments merge only with the same classes, features and groups")
        self._widen(other._sum.dtype)
        fresh = other._known & ~self._known
        self._reference[fresh] = other._reference[fresh].to(self._reference.dtype)
        self._known |= other._known
        self._offset |= other._offset & fresh
        self._shifted, self._complete = bool(self._offset.any()), bool(self._known.all())
        shift = other._reference.double() - self._reference.double()
        lengths = shift.square().sum(1)
        for group in range(max(1, self.groups)):
            own = slice(group * self.classes, (group + 1) * self.classes)
            count, sums = other._count[own], other._sum[own].double()
            self._square[own] += other._square[own] + 2 * (sums * shift).sum(1) + count * lengths
            self._sum[own] += (sums + count[:, None] * shift).to(self._sum.dtype)
        self._count += other._count

    def means(self) -> Float64[Tensor, "k f"]:
        """The class means; zero for classes without images."""
        count, offset, _ = self._totals()
        return (self._reference.double() + offset) * (count > 0)[:, None]

    def result(self) -> Moments:
        """The moments of everything seen so far.

        Raises:
            BadData: if no class has two images, so that no radius can be had.
        """
        return joint_moments([self])

    def _totals(self) -> tuple[Tensor, Tensor, Tensor]:
        """Count, mean about the reference and sum of squares about it, of every class."""
        shape = (-1, self.classes)
        count = self._count.reshape(shape).sum(0)
        offset = self._sum.reshape(*shape, self.features).sum(0, dtype=torch.float64)
        offset /= count.clamp_min(1)[:, None]
        return count, offset, self._square.reshape(shape).sum(0)

    @torch.no_grad()
    def _spread(self) -> tuple[Tensor, Tensor, Tensor]:
        """Count (1 + G, K), scatter (1 + G, K) and S_B (1 + G): of all, then without each group."""
        count, offset, total = self._totals()
        shape = (self.groups if self.groups > 1 else 0, self.classes)
        cells = shape[0] * shape[1]
        gone = self._count[:cells].reshape(shape)
        left = count - gone
        inverse = 1 / left.clamp_min(1).double()
        without = 1 / left.sum(1, keepdim=True).clamp_min(1).double()
        centres = offset + self._reference.double()
        centres -= _weights(count) @ centres
        whole, weights = _weights(count), _weights(left)
        about = torch.zeros(2, *shape, dtype=torch.float64)
        middle = torch.zeros(shape[0], dtype=torch.float64)
        columns = max(1, _COLUMNS // len(self._sum))
        for start in range(0, self.features if cells else 0, columns):
            part = slice(start, start + columns)
            here = torch.stack([centres[:, part], offset[:, part]])
            # what a group's sum has over its share of the class's: leaving it out moves the mean
            apart = self._sum[:cells, part].unflatten(0, shape) - gone[..., None] * here[1]
            cross = torch.einsum("skf,gkf->sgk", here, apart)
            about += torch.linalg.vector_norm(apart, dim=2).square() * inverse.square()
            about -= 2 * cross * inverse
            moved = weights @ here[0] - apart.sum(1) * without
            middle += moved.square().sum(1)
        about += torch.stack([centres, offset]).square().sum(2)[:, None]
        square = self._square.reshape(-1, self.classes)[: shape[0]]
        scatter = torch.cat(
            [
                (total - count * offset.square().sum(1))[None],
                total - square - left * about[1],
            ]
        )
        counts = torch.cat([count[None], left])
        between = torch.cat(
            [
                (whole * centres.square().sum(1)).sum()[None],
                (weights * about[0]).sum(1) - middle,
            ]
        )
        return counts, scatter.clamp_min(0) * (counts > 0), between.clamp_min(0)


def joint_moments(parts: Sequence[ClassMoments]) -> Moments:
    """The moments of several accumulators' features side by side: scatter adds over features.

    A tensor that crosses at many cuts is accumulated once.

    Raises:
        BadData: if no class has two images, so that no radius can be had.
        BadPlan: if the accumulators did not see the same images with the same settings.
    """
    first = parts[0]
    if any(
        (p.labelled, p.classes, p.groups) != (first.labelled, first.classes, first.groups)
        or not torch.equal(p._count, first._count)
        for p in parts
    ):
        raise BadPlan("moments join only over the same images, classes and groups")
    found = [part._spread() for part in parts]
    counts = found[0][0]
    scatters = torch.stack([scatter for _, scatter, _ in found]).sum(0)
    between = torch.stack([between for _, _, between in found]).sum(0).tolist()
    features = sum(part.features for part in parts)
    count, scatter = counts[0], scatters[0]
    if int(count.max()) < 2:
        raise BadData(
            f"{int(count.sum())} images, at most one of a class: a radius needs at "
            "least two images of some class"
        )
    values = summary(count, scatter, between[0], features)
    replicates = [
        summary(left, apart, other, features)
        if int(left.sum()) < int(count.sum()) and int(left.max()) > 1
        else dict.fromkeys(values, math.nan)
        for left, apart, other in zip(counts[1:], scatters[1:], between[1:], strict=True)
    ]
    radii = torch.where(count > 0, scatter / count, math.nan)
    unbiased = torch.where(count > 1, scatter / (count - 1), math.nan)
    return Moments(
        features=features,
        counts=tuple(count.tolist()),
        labelled=first.labelled,
        class_radii=tuple(radii.tolist()),
        unbiased_class_radii=tuple(unbiased.tolist()),
        values=values,
        replicates={name: tuple(r[name] for r in replicates) for name in values},
    )


def stream_order(y: Labels | None, ids: Int64[Tensor, " n"], groups: int) -> Int64[Tensor, " n"]:
    """The order of images in which `ClassMoments` is fastest: cell by cell.

    It changes results by rounding alone.
    """
    cells = _group_of(ids.cpu(), max(1, groups))
    if y is not None and len(y):
        cells = cells * (1 + int(y.max())) + y.cpu()
    return cells.argsort(stable=True)


def _check_finite(z: Tensor) -> None:
    # a finite sum has finite terms, and costs a fraction of looking at each
    if not math.isfinite(float(z.sum())) and not torch.isfinite(z).all():
        raise BadData("features hold NaN or infinity: check the model's weights and the images")


def _squared_norms(z: Float[Tensor, "n f"]) -> Float64[Tensor, " n"]:
    """Sum of squares of each row.

    Raises:
        BadData: if a value is not finite.
    """
    head = z.shape[1] - z.shape[1] % _RUN
    runs = torch.linalg.vector_norm(z[:, :head].unflatten(1, (-1, _RUN)), dim=2)
    squares = runs.double().square_().sum(1)
    if head < z.shape[1]:
        squares += torch.linalg.vector_norm(z[:, head:], dim=1).double().square_()
    if not math.isfinite(float(squares.sum())):
        _check_finite(z)
        squares = torch.linalg.vector_norm(z, dim=1, dtype=torch.float64).square_()
    return squares


def _weights(count: Int64[Tensor, "*g k"]) -> Float64[Tensor, "*g k"]:
    """Shares of the classes."""
    return count.double() / count.sum(-1, keepdim=True).clamp_min(1)


def _spread_of(z: Float[Tensor, "n f"]) -> float:
    """Mean squared distance from the mean, to a few digits."""
    return float(torch.linalg.vector_norm(z) ** 2 / len(z) - z.mean(0).square().sum())


def _group_of(ids: Int64[Tensor, " n"], groups: int) -> Int64[Tensor, " n"]:
    """A group for each id by the finaliser of splitmix64, the same on every machine."""
    return torch.from_numpy((mixed(ids) % np.uint64(groups)).astype(np.int64))


def mixed(ids: Int64[Tensor, " n"]) -> UInt64[np.ndarray, " n"]:
    """A well-mixed 64-bit number for each id."""
    x = ids.cpu().numpy().astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
