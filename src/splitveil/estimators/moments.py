"""Class-wise means and scatter of a stream of features, exact and mergeable."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from scipy import stats
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.estimators.bootstrap import Interval
from splitveil.shapes import Features, Labels

_BLOCK_VALUES = 1 << 19
_GROUPS = (16, 8, 4, 2)


def groups_within(classes: int, sizes: Sequence[int], memory: int = 256 * 2**20) -> int:
    """Most jackknife groups (16, 8, 4, 2 or 0) whose sums fit in `memory` bytes over all cuts.

    A group costs 4 bytes for each class and feature of every cut; 0 groups give no intervals.
    """
    values = classes * sum(sizes)
    return next((groups for groups in _GROUPS if 4 * groups * values <= memory), 0)


@dataclass(frozen=True)
class Moments:
    """Scatter of n feature vectors of D values around their class means and of these means.

    With N_c images of mean mu_c in class c, M2_c = sum |z - mu_c|² and mu the mean of all:
    `class_radii` R_c² = M2_c / N_c (0 for a class of one image, NaN for an empty one);
    `radius` is its unweighted mean over classes of two images or more; `within` S_W = sum M2_c / N;
    `between` S_B = sum N_c |mu_c - mu|² / N; `total` S_T = S_W + S_B. The `unbiased` twins divide
    by N_c - 1 and N - K, and take the share of S_W out of S_B. Squared feature units, summed over
    features. `replicates` hold each quantity with one group of images left out, in the order of
    `intervals`' keys; `labelled` is False where all images were taken together for want of labels.
    """

    features: int
    counts: tuple[int, ...]
    labelled: bool
    class_radii: tuple[float, ...]
    unbiased_class_radii: tuple[float, ...]
    values: dict[str, float]
    replicates: dict[str, tuple[float, ...]]

    @property
    def n(self) -> int:
        """Images seen."""
        return sum(self.counts)

    @property
    def classes(self) -> int:
        """Classes with at least one image."""
        return sum(count > 0 for count in self.counts)

    def interval(self, name: str, *, level: float = 0.95) -> Interval:
        """Delete-group jackknife interval, on the log scale.

        log theta ± t_(G-1) sqrt((G - 1) / G sum (log theta_(g) - mean)²). Without at least two
        groups, or where a replicate is 0 or infinite, it is [0, inf].
        """
        value, replicates = self.values[name], self.replicates[name]
        if value == 0 and not any(replicates):
            return Interval(value, 0.0, 0.0 if replicates else math.inf)
        usable = all(0 < r < math.inf for r in (value, *replicates))
        if len(replicates) < 2 or not usable:
            return Interval(value, 0.0, math.inf)
        groups = len(replicates)
        logs = [math.log(r) for r in replicates]
        mean = sum(logs) / groups
        error = math.sqrt((groups - 1) / groups * sum((x - mean) ** 2 for x in logs))
        factor = math.exp(min(700.0, float(stats.t.ppf((1 + level) / 2, groups - 1)) * error))
        return Interval(value, value / factor, value * factor)


class ClassMoments:
    """Accumulates class-wise moments of one cut's features in one pass, in float64.

    Batches merge by Chan's rule (n' = n + n_b, M2' = M2 + q + |d|² n n_b / n'), as do accumulators,
    so neither batch size nor order matters but for rounding. Group sums for the jackknife are kept
    in float32 about a fixed reference: K D (8 + 4 G) bytes in all; `groups_within` chooses G.

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
        self._count = torch.zeros(self.classes, dtype=torch.int64)
        self._mean = torch.zeros(self.classes, features, dtype=torch.float64)
        self._scatter = torch.zeros(self.classes, dtype=torch.float64)
        self._reference: Tensor | None = None
        cells = groups * self.classes
        self._group_count = torch.zeros(cells, dtype=torch.int64)
        self._group_sum = torch.zeros(cells, features, dtype=torch.float32)
        self._group_square = torch.zeros(cells, dtype=torch.float64)

    @torch.no_grad()
    def update(self, z: Features, y: Labels | None, ids: Int64[Tensor, " n"]) -> None:
        """Take in a batch of features, their labels and the ids of their images.

        Raises:
            BadData: if shapes or labels do not fit, or a feature is not finite; the accumulator
                is then as it was.
        """
        labels = self._checked(z, y, ids)
        rows = max(1, _BLOCK_VALUES // self.features)
        for block, classes, names in zip(
            z.detach().cpu().split(rows), labels.split(rows), ids.cpu().split(rows), strict=True
        ):
            self._absorb(block.to(torch.float64, copy=True), classes, names)

    def _checked(self, z: Tensor, y: Tensor | None, ids: Tensor) -> Tensor:
        if z.shape[1] != self.features or len(ids) != len(z):
            raise BadData(
                f"expected features of shape (n, {self.features}) with n ids, got "
                f"{tuple(z.shape)} with {len(ids)}"
            )
        if (y is not None) is not self.labelled or (y is not None and len(y) != len(z)):
            raise BadData(
                "give one label an image"
                if self.labelled
                else "these moments were begun without labels: begin them with a class count"
            )
        if not torch.isfinite(z.detach().sum(dtype=torch.float64)):
            raise BadData("features hold NaN or infinity: check the model's weights and the images")
        labels = torch.zeros(len(z), dtype=torch.int64) if y is None else y.cpu()
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.classes:
            raise BadData(
                f"labels run from {int(labels.min())} to {int(labels.max())}, expected 0 to "
                f"{self.classes - 1}"
            )
        return labels

    def _absorb(self, z: Tensor, labels: Tensor, ids: Tensor) -> None:
        """One block; `z` is overwritten."""
        if not len(z):
            return
        if self._reference is None:
            self._reference = z.mean(0)
        z -= self._reference
        if self.groups:
            cells = _group_of(ids, self.groups) * self.classes + labels
            self._group_count += cells.bincount(minlength=len(self._group_count))
            self._group_sum.index_add_(0, cells, z.float())
            self._group_square.index_add_(0, cells, _squared_norm(z))
        count = labels.bincount(minlength=self.classes)
        mean = torch.zeros_like(self._mean).index_add_(0, labels, z)
        mean /= count.clamp_min(1)[:, None]
        z -= mean.index_select(0, labels)
        scatter = torch.zeros_like(self._scatter).index_add_(0, labels, _squared_norm(z))
        self._combine(count, mean, scatter)

    def _combine(self, count: Tensor, mean: Tensor, scatter: Tensor) -> None:
        """Chan's rule for every class at once; means are relative to the reference."""
        joint = self._count + count
        share = count.double() / joint.clamp_min(1)
        step = mean - self._mean
        self._scatter += scatter + _squared_norm(step) * self._count * share
        self._mean.addcmul_(step, share[:, None])
        self._count = joint

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
        if other._reference is None:
            return
        if self._reference is None:
            self._reference = other._reference
        shift = other._reference - self._reference
        self._combine(other._count, other._mean + shift, other._scatter)
        sums, counts = other._group_sum.double(), other._group_count[:, None]
        squares = other._group_square + 2 * sums @ shift + counts[:, 0] * shift.square().sum()
        self._group_square += squares
        self._group_sum += (sums + counts * shift).float()
        self._group_count += other._group_count

    def means(self) -> Float64[Tensor, "k f"]:
        """The class means; zero for classes without images."""
        reference = 0.0 if self._reference is None else self._reference
        return (self._mean + reference) * (self._count > 0)[:, None]

    def result(self) -> Moments:
        """The moments of everything seen so far.

        Raises:
            BadData: if no class has two images, so that no radius can be had.
        """
        if int(self._count.max()) < 2:
            raise BadData(
                f"{int(self._count.sum())} images, at most one of a class: a radius needs at "
                "least two images of some class"
            )
        radii = torch.where(self._count > 0, self._scatter / self._count, math.nan)
        unbiased = torch.where(self._count > 1, self._scatter / (self._count - 1), math.nan)
        values = _summary(self._count, self._mean, self._scatter, self.features)
        replicates = [_summary(*parts, self.features) for parts in self._left_out()]
        return Moments(
            features=self.features,
            counts=tuple(self._count.tolist()),
            labelled=self.labelled,
            class_radii=tuple(radii.tolist()),
            unbiased_class_radii=tuple(unbiased.tolist()),
            values=values,
            replicates={
                name: tuple(r[name] for r in replicates if not math.isnan(r[name]))
                for name in values
            },
        )

    def _left_out(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Count, mean and scatter of every class without each group in turn."""
        shape = (self.groups, self.classes)
        counts, squares = self._group_count.reshape(shape), self._group_square.reshape(shape)
        sums = self._group_sum.reshape(*shape, self.features)
        parts = []
        for group in range(self.groups):
            gone = counts[group]
            left = self._count - gone
            if not int(gone.sum()) or int(left.max()) < 2:
                continue
            removed = sums[group].double() - gone[:, None] * self._mean
            mean = self._mean - removed / left.clamp_min(1)[:, None]
            about = (sums[group].double() * self._mean).sum(1)
            lost = squares[group] - 2 * about + gone * self._mean.square().sum(1)
            lost += removed.square().sum(1) / left.clamp_min(1)
            scatter = (self._scatter - lost).clamp_min(0) * (left > 0)
            parts.append((left, mean, scatter))
        return parts


def _summary(
    count: Int64[Tensor, " k"],
    mean: Float[Tensor, "k f"],
    scatter: Float[Tensor, " k"],
    features: int,
) -> dict[str, float]:
    """Every scalar of `Moments` from counts, means and scatters; NaN where undefined."""
    n, present = int(count.sum()), count > 0
    several = count > 1
    k = int(present.sum())
    within = float(scatter.sum()) / n
    middle = (count[:, None] * mean).sum(0) / n
    between = float((count * (mean - middle).square().sum(1))[present].sum()) / n
    total = within + between
    within_unbiased = within * n / (n - k) if n > k else math.nan
    return {
        "radius": float((scatter[several] / count[several]).mean()),
        "radius_unbiased": float((scatter[several] / (count[several] - 1)).mean()),
        "within": within,
        "within_unbiased": within_unbiased,
        "between": between,
        "between_unbiased": max(0.0, between - (k - 1) / n * within_unbiased),
        "total": total,
        "v": within / features,
        "rho": within / total if total > 0 and k > 1 else math.nan,
        "nc1": within / between if between > 0 and k > 1 else math.nan,
    }


def _squared_norm(rows: Float64[Tensor, "n f"]) -> Float64[Tensor, " n"]:
    """Sum of squares of each row, without a temporary of the rows' size."""
    return torch.linalg.vector_norm(rows, dim=1).square()


def _group_of(ids: Int64[Tensor, " n"], groups: int) -> Int64[Tensor, " n"]:
    """A group for each id by the finaliser of splitmix64, the same on every machine."""
    x = ids.to(torch.int64) + -7046029254386353131
    x = (x ^ _shifted(x, 30)) * -4658895280553007687
    x = (x ^ _shifted(x, 27)) * -7723592293110705685
    return (x ^ _shifted(x, 31)) % groups


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of signed integers."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
