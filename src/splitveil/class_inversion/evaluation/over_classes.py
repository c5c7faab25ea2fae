"""Means over classes with intervals for other classes."""

import math
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from splitveil.errors import BadData
from splitveil.estimators.bootstrap import Interval, bca, mean_interval, resampled_means
from splitveil.estimators.order_statistics import share_interval
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng

PerClass: TypeAlias = Float[Tensor, " n"]
OtherPerClass: TypeAlias = Float[Tensor, " n2"]
_WORDS = ("classes are independent draws", "holds for this one model and attack seed")
_RESAMPLES = 2000


def mean_over_classes(
    values: PerClass, rng: Rng, *, unit: str, images: int, assumptions: tuple[str, ...] = ()
) -> Quantity:
    """Mean of one number a class, with a BCa bootstrap interval over classes (95 %).

    Images of one class are not independent, so classes are resampled whole. Shares that are all 0
    or all 1 have the exact binomial interval of as many classes. Kind: measured.

    Args:
        values: each class's mean over its images.
        rng: stream of the resamples.
        unit: of the numbers.
        images: how many a class the means are of.
        assumptions: what else a reader must know.

    Raises:
        BadData: if there are fewer than two classes, or a value is not finite.
    """
    data = _checked(values)
    interval = _share_of(data) if unit == "share" and _settled(data) else mean_interval(data, rng)
    return Quantity(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        unit=unit,
        kind=Kind.MEASURED,
        n=len(data),
        assumptions=(*_WORDS, f"{images} images a class", *assumptions),
    )


def net_accuracy(attack: PerClass, public: OtherPerClass, rng: Rng) -> Quantity:
    """(A - P) / (1 - P): what an attack adds to P, the accuracy of the best public image.

    Paired BCa bootstrap over classes, 95 %; where the attack always or never succeeds, from the two
    intervals apart, which is wider. Negative where public images do better. Unit: share.
    Kind: measured.

    Args:
        attack: share of each class's images that are of the class.
        public: the same of a baseline, for the same classes in the same order.
        rng: stream of the resamples.

    Raises:
        BadData: if classes differ in number, there are fewer than two, or the baseline is always
            right.
    """
    a, p = _checked(attack), _checked(public)
    if len(a) != len(p):
        raise BadData(f"{len(a)} and {len(p)} classes: give both for the same classes")
    if p.mean() == 1:
        raise BadData("the public images are always right: an attack can add nothing to them")
    order = np.lexsort((p, a))
    a, p = a[order], p[order]
    drawn = resampled_means((a, p), rng, _RESAMPLES)
    without = [(column.sum() - column) / (len(column) - 1) for column in (a, p)]
    resampled, leave_one_out = (_net(*pair) for pair in (drawn, without))
    finite = np.isfinite(resampled).all() and np.isfinite(leave_one_out).all()
    value = float(_net(a.mean(keepdims=True), p.mean(keepdims=True))[0])
    if _settled(a):
        # an attack that never or always succeeds does not vary, and is no more certain for that
        mine = _share_of(a)
        other = _share_of(p) if _settled(p) else mean_interval(p, rng)
        low = (mine.low - other.high) / (1 - other.high) if other.high < 1 else -math.inf
        high = (mine.high - other.low) / (1 - other.low)
    elif finite:
        interval = bca(value, resampled, leave_one_out, level=0.95)
        low, high = interval.low, interval.high
    else:
        kept = resampled[np.isfinite(resampled)]
        low, high = (float(end) for end in np.quantile(kept, [0.025, 0.975]))
    return Quantity(
        value=value,
        low=min(low, value),
        high=max(high, value),
        unit="share",
        kind=Kind.MEASURED,
        n=len(a),
        assumptions=(*_WORDS, f"less a baseline of {p.mean():.3g}"),
    )


def _settled(data: NDArray[np.float64]) -> bool:
    """Whether a share is 0 in every class, or 1 in every class."""
    return bool(data.min() == data.max() and data[0] in (0.0, 1.0))


def _share_of(data: NDArray[np.float64]) -> Interval:
    return share_interval(float(data.sum()), len(data))


def _net(a: NDArray[np.float64], p: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        found: NDArray[np.float64] = (a - p) / (1 - p)
    return found


def _checked(values: Tensor) -> NDArray[np.float64]:
    data: NDArray[np.float64] = values.detach().double().cpu().numpy()
    if len(data) < 2 or not np.isfinite(data).all():
        raise BadData(f"an interval over classes needs two or more finite values, got {data[:3]}")
    return data
