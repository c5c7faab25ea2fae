"""Quantiles with intervals that assume nothing about the law of the values."""

import math

import numpy as np
from jaxtyping import Float64
from scipy import stats

from splitveil.estimators.bootstrap import Interval


def quantile_interval(
    values: Float64[np.ndarray, " n"],
    q: float,
    *,
    level: float = 0.95,
    support: tuple[float, float] = (-math.inf, math.inf),
) -> Interval:
    """The q-quantile with an interval whose ends are order statistics.

    The number of values below the true quantile is binomial (n, q), so the ends are the values of
    ranks ppf((1 - level) / 2) and ppf((1 + level) / 2) + 1: coverage is at least `level` for
    independent draws of any law. Where a rank falls outside 1..n the end is that of `support`.
    Needs n >= 1 and 0 < q < 1.
    """
    ordered = np.sort(values)
    n = len(ordered)
    low = int(stats.binom.ppf((1 - level) / 2, n, q)) - 1
    high = int(stats.binom.ppf((1 + level) / 2, n, q))
    value = float(ordered[max(0, math.ceil(q * n) - 1)])
    return Interval(
        value,
        min(value, float(ordered[low]) if low >= 0 else support[0]),
        max(value, float(ordered[high]) if high < n else support[1]),
    )


def share_interval(hits: float, n: int, *, level: float = 0.95) -> Interval:
    """A share with the interval of Clopper and Pearson 1934, from beta quantiles.

    For a whole number of hits it is exact. Fractional hits, a tie that counts by its chance, give
    the continuous extension between two exact intervals. Needs n >= 1 and 0 <= hits <= n.
    """
    tail = (1 - level) / 2
    low = float(stats.beta.ppf(tail, hits, n - hits + 1)) if hits > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
    value = hits / n
    return Interval(value, min(low, value), max(high, value))
