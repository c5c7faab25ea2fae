"""How classes lie at one cut: nearest class centre and effective rank, from sketched features."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from scipy import stats
from torch import Tensor

from splitveil.errors import BadData
from splitveil.estimators.bootstrap import Interval
from splitveil.estimators.moments import ClassMoments
from splitveil.estimators.reservoir import Reservoir
from splitveil.estimators.sketch import CountSketch
from splitveil.shapes import Features, Labels

_FOLDS = 16


@dataclass(frozen=True)
class Geometry:
    """Nearest-class-centre accuracy and effective rank within classes, with 95 % intervals.

    `centre_accuracy` is the share of `sampled` images whose nearest class mean is their own
    class's, each left out of its own mean (Clopper-Pearson; None with one class). `effective_rank`
    is (tr C)² / |C|_F² of the pooled covariance C within classes (jackknife over 16 parts of the
    sample; None if features do not vary). `sketched` says that distances are those of a sketch:
    accuracy is then biased low, by what a random projection confuses.
    """

    centre_accuracy: Interval | None
    effective_rank: Interval | None
    sampled: int
    sketched: bool


class ClassGeometry:
    """Accumulates sketched class means and a uniform sample of sketched features in one pass.

    Memory is 8 K m + 4 s m bytes for sketches of m values and a sample of s images.

    Args:
        classes: number K of classes.
        features: number of features.
        width: values m of the sketch; with no more features nothing is sketched.
        size: images s in the sample.
        seed: of the sketch.
    """

    def __init__(
        self, classes: int, features: int, *, width: int = 2048, size: int = 512, seed: int = 0
    ) -> None:
        self._sketch = CountSketch(features, width, seed)
        self._moments = ClassMoments(classes, min(features, width), groups=0)
        self._reservoir = Reservoir(size)

    @torch.no_grad()
    def update(self, z: Features, y: Labels, ids: Int64[Tensor, " n"]) -> None:
        """Take in a batch.

        Raises:
            BadData: if shapes or labels do not fit, or a feature is not finite.
        """
        sketched = self._sketch(z)
        self._moments.update(sketched, y, ids)
        self._reservoir.update(sketched, y, ids)

    def merge(self, other: "ClassGeometry") -> None:
        """Take in all that `other` has seen.

        Raises:
            BadPlan: if the two were begun with different settings.
        """
        self._moments.merge(other._moments)
        self._reservoir.merge(other._reservoir)

    def result(self) -> Geometry:
        """What the sample says of everything seen.

        Raises:
            BadData: if no class has two images.
        """
        moments = self._moments.result()
        rows, labels, _ = self._reservoir.sample()
        count = torch.tensor(moments.counts)
        fair = count[labels] > 1
        if not bool(fair.any()):
            raise BadData("no sampled image shares its class with another: see more images")
        z, y = rows[fair].double(), labels[fair]
        means = self._moments.means()
        present = (count > 0).nonzero().flatten()
        accuracy = None
        if len(present) > 1:
            accuracy = _share(int(_hits(z, y, means, count, present).sum()), len(y))
        inflation = (count[y] / (count[y] - 1)).sqrt()[:, None]
        rank = _effective_rank((z - means[y]) * inflation, self._sketch)
        return Geometry(accuracy, rank, len(y), not self._sketch.exact)


def _hits(
    z: Float64[Tensor, "n f"],
    y: Int64[Tensor, " n"],
    means: Float64[Tensor, "k f"],
    count: Int64[Tensor, " k"],
    present: Int64[Tensor, " p"],
) -> Tensor:
    """Whether each image is nearest to its own class's mean, itself left out of that mean."""
    distance = torch.full((len(z), len(means)), math.inf, dtype=torch.float64)
    centre = means[present].mean(0)
    distance[:, present] = torch.cdist(
        z - centre, means[present] - centre, compute_mode="donot_use_mm_for_euclid_dist"
    )
    own = distance.gather(1, y[:, None])[:, 0] * (count[y] / (count[y] - 1))
    others = distance.scatter(1, y[:, None], math.inf).amin(1)
    return own < others


def _share(hits: int, n: int) -> Interval:
    found = stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    return Interval(hits / n, float(found.low), float(found.high))


def _effective_rank(within: Float64[Tensor, "n m"], sketch: CountSketch) -> Interval | None:
    """(tr C)² / |C|_F² with |C|_F² from pairs of images, cleared of what the sketch adds.

    E (w_i . w_j)² = |C|_F² over pairs; a sketch adds p (|w_i|² |w_j|² + (w_i . w_j)²), with p the
    chance that two features meet, less at most 2 p |C|_F², which is left in.
    """
    n = len(within)
    squares = (within @ within.T).square()
    lengths = within.square().sum(1)
    squares.fill_diagonal_(0)
    pairs = lengths[:, None] * lengths[None]
    pairs.fill_diagonal_(0)

    def rank(keep: Tensor) -> float:
        k = int(keep.sum())
        if k < 2:
            return math.nan
        both = keep.double()
        frobenius = float(both @ squares @ both) / (k * (k - 1))
        product = float(both @ pairs @ both) / (k * (k - 1))
        frobenius = (frobenius - sketch.meeting * product) / (1 + sketch.meeting)
        return product / frobenius if frobenius > 0 else math.inf

    value = rank(torch.ones(n, dtype=torch.bool))
    if not 0 < value < math.inf:
        return None
    fold = torch.arange(n) % _FOLDS
    logs = [
        math.log(left)
        for part in range(min(_FOLDS, n))
        if 0 < (left := rank(fold != part)) < math.inf
    ]
    if len(logs) < 2 or len(logs) < min(_FOLDS, n):
        return Interval(value, 0.0, math.inf)
    middle = sum(logs) / len(logs)
    error = math.sqrt((len(logs) - 1) / len(logs) * sum((x - middle) ** 2 for x in logs))
    wide = math.exp(min(700.0, float(stats.t.ppf(0.975, len(logs) - 1)) * error))
    return Interval(value, value / wide, value * wide)
