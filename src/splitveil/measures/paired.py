"""Two attacks, defences or networks on the same images: is there a difference, and how large?"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from splitveil.errors import BadData, BadPlan
from splitveil.estimators.bootstrap import mean_interval, ratio_interval
from splitveil.measures.checks import OtherPerImage, finite
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.shapes import PerImage

_PAIRED = ("images are independent draws", "both were measured on the same images")
_RESAMPLES = 9999


def paired_difference(first: PerImage, second: OtherPerImage, rng: Rng, *, unit: str) -> Quantity:
    """Mean over images of first - second, with its paired BCa bootstrap interval (95 %).

    What the images have in common drops out, so the interval is shorter than two intervals side by
    side suggest. It says nothing of other seeds: see `mean_over_seeds`. Kind: measured.

    Args:
        first: one number an image.
        second: one number for each of the same images, in the same order.
        rng: stream of the resamples.
        unit: of the numbers.

    Example:
        >>> import torch
        >>> from splitveil.rng import Rng
        >>> x = torch.rand(50, generator=Rng(0).torch(), dtype=torch.float64)
        >>> print(paired_difference(x + 0.5, x, Rng(0), unit="dB"))
        0.5 dB

    Raises:
        BadData: if counts differ, there are fewer than two images, or values are not finite.
    """
    a, b = _pair(first, second)
    interval = mean_interval(a - b, rng)
    return Quantity(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        unit=unit,
        kind=Kind.MEASURED,
        n=len(a),
        assumptions=_PAIRED,
    )


def log_ratio(first: PerImage, second: OtherPerImage, rng: Rng) -> Quantity:
    """ln(mean(first) / mean(second)) with its paired BCa bootstrap interval (95 %).

    The effect of a defence on an attack's mean squared error: 0 is none, ln 2 = .69 a doubling.
    Symmetric: exchanging the two changes the sign. It says nothing of other seeds: see
    `log_ratio_over_seeds`. A doubled error may be no more than the plateau of the class mean; look
    at `leakage` too. Unit: log ratio. Kind: measured.

    Args:
        first: errors with the defence, one an image.
        second: errors without it on the same images in the same order.
        rng: stream of the resamples.

    Raises:
        BadData: if counts differ, there are fewer than two images, errors are negative or not
            finite, or either are all zero.
    """
    a, b = _pair(first, second)
    if (a < 0).any() or (b < 0).any():
        raise BadData("errors are squared distances and cannot be negative")
    if not (a > 0).any() or not (b > 0).any():
        raise BadData("errors that are all zero have no ratio: compare them with paired_difference")
    ratio = ratio_interval(a, b, rng)
    low, value, high = (_log(v) for v in (ratio.low, ratio.value, ratio.high))
    return Quantity(
        value=value,
        low=low,
        high=high,
        unit="log ratio",
        kind=Kind.MEASURED,
        n=len(a),
        assumptions=_PAIRED,
    )


def paired_p_value(
    first: PerImage,
    second: OtherPerImage,
    rng: Rng,
    *,
    test: Literal["sign flips", "wilcoxon"] = "sign flips",
    alternative: Literal["two-sided", "less", "greater"] = "two-sided",
) -> Quantity:
    """How probable so large a difference is if the two were exchangeable image by image.

    "sign flips" permutes which of a pair is first and compares mean differences: exact up to 13
    images, otherwise from 9999 drawn flips, so never below 1e-4, two-sided 2e-4. "wilcoxon" ranks
    the absolute differences (Wilcoxon 1945) and is less moved by a few images; equal pairs are left
    out. Correct several by `splitveil.estimators.holm`. A small value is no large effect: give
    `log_ratio` or `paired_difference` beside it.

    Args:
        first: one number an image.
        second: one number for each of the same images, in the same order.
        rng: stream of the flips.
        test: as above.
        alternative: "less" where `first` is expected to be smaller.

    Returns:
        Unit: p value. Kind: measured. No interval.

    Raises:
        BadData: if counts differ, there are fewer than two images, or values are not finite.
    """
    a, b = _pair(first, second)
    differences = np.sort(a - b)
    if not differences.any():
        p_value = 1.0
    elif test == "wilcoxon":
        p_value = float(stats.wilcoxon(differences, alternative=alternative).pvalue)
    else:
        p_value = float(
            stats.permutation_test(
                (differences,),
                lambda d, axis: d.mean(axis),
                permutation_type="samples",
                vectorized=True,
                n_resamples=_RESAMPLES,
                batch=max(1, (1 << 22) // len(differences)),
                alternative=alternative,
                rng=rng.child("flips").numpy(),
            ).pvalue
        )
    return Quantity.exact(
        p_value,
        unit="p value",
        kind=Kind.MEASURED,
        n=len(a),
        assumptions=(*_PAIRED, f"{test}, {alternative}"),
    )


@dataclass(frozen=True)
class Equivalence:
    """Whether a difference lies within a margin that was declared beforehand.

    `difference` has the interval whose containment in (-margin, margin) is the test: 90 % for a
    test at 5 %. `p_value` is the larger of the two one-sided ones.
    """

    difference: Quantity
    margin: float
    p_value: float

    @property
    def holds(self) -> bool:
        """Whether equivalence was shown; if not, nothing was shown."""
        return self.p_value <= (1 - self.difference.level) / 2


def equivalence(
    first: PerImage,
    second: OtherPerImage,
    *,
    margin: float,
    unit: str = "share",
    level: float = 0.05,
) -> Equivalence:
    """Two one-sided paired t tests of |mean(first - second)| < margin (Schuirmann 1987).

    For "utility unchanged": give each image's answer as right, 1, or wrong, 0, for two networks,
    and the loss of accuracy you would accept, chosen before you look. A difference that is merely
    not significant shows nothing; this test can show sameness. Means of many images are taken as
    normal, so it is for dozens of images and more.

    Args:
        first: one number an image.
        second: one number for each of the same images, in the same order.
        margin: largest difference that counts as none, in the unit of the numbers.
        unit: of the numbers.
        level: of the test.

    Example:
        >>> import torch
        >>> right = torch.tensor([1.0, 0.0] * 200)
        >>> equivalence(right, right, margin=0.01).holds
        True

    Raises:
        BadData: if counts differ, there are fewer than two images, or values are not finite.
        BadPlan: if the margin is not positive and finite, or the level not in (0, .5).
    """
    if not (0 < margin < math.inf and 0 < level < 0.5):
        raise BadPlan(
            f"the margin must be positive and the level in (0, .5), got {margin}, {level}"
        )
    a, b = _pair(first, second)
    differences = np.sort(a - b)
    n = len(differences)
    mean, error = float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(n)
    distance = margin - abs(mean)
    if error == 0:
        p_value = 0.0 if distance > 0 else 1.0
    else:
        p_value = float(stats.t.sf(distance / error, n - 1))
    half = error * float(stats.t.ppf(1 - level, n - 1))
    difference = Quantity(
        value=mean,
        low=mean - half,
        high=mean + half,
        unit=unit,
        kind=Kind.MEASURED,
        n=n,
        level=1 - 2 * level,
        assumptions=(*_PAIRED, "means are close to normal", f"margin {margin:g}"),
    )
    return Equivalence(difference, margin, p_value)


def _pair(
    first: PerImage, second: OtherPerImage
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as float64 arrays.

    Raises:
        BadData: if counts differ, there are fewer than two images, or values are not finite.
    """
    if len(first) != len(second) or len(first) < 2:
        raise BadData(
            f"{len(first)} and {len(second)} values: give both for the same images, at least two"
        )
    for values in (first, second):
        finite(values, "values")
    a, b = (v.detach().to(torch.float64).cpu().numpy() for v in (first, second))
    return a, b


def _log(ratio: float) -> float:
    return math.log(ratio) if ratio > 0 else -math.inf
