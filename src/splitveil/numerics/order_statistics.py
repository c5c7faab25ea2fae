"""Quantiles of few draws, with the confidence that their number allows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom


@dataclass(frozen=True)
class Quantile:
    """An estimate, two draws that hold the true quantile between them, and how surely."""

    value: float
    low: float
    high: float
    level: float


def quantile_between(values: Sequence[float], q: float, *, level: float = 0.95) -> Quantile:
    """The q-quantile of independent draws between two of them, whatever their law.

    The number of draws below the true quantile is binomial (n, q): the ends have the ranks
    r = ppf((1 - level) / 2) and s = ppf((1 + level) / 2) + 1, and cover with probability
    cdf(s - 1) - cdf(r - 1). Where a rank falls outside 1..n the end is the first or last draw, and
    the level returned is the lower one that is reached then: 72 draws suffice for .95 at q = .95,
    20 reach .64. Needs n >= 1 and 0 < q < 1. The level is rounded down to four digits.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    first = max(int(binom.ppf((1 - level) / 2, n, q)), 1)
    last = min(int(binom.ppf((1 + level) / 2, n, q)) + 1, n)
    reached = float(binom.cdf(last - 1, n, q) - binom.cdf(first - 1, n, q))
    low, high = float(ordered[first - 1]), float(ordered[last - 1])
    value = float(np.quantile(ordered, q, method="median_unbiased"))
    return Quantile(min(max(value, low), high), low, high, math.floor(reached * 1e4) / 1e4)
