"""How well a score tells two groups of networks apart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binomtest, norm, rankdata

from splitveil.errors import BadData
from splitveil.quantities import Kind, Quantity


@dataclass(frozen=True, kw_only=True)
class Roc:
    """Area under the curve, and the share of malicious networks found at stated false alarms.

    `found[rate]` is the share with a score above all but `rate` of the honest ones: at 0 above
    every one of them. Thresholds are set on the very networks they are tried on.
    """

    area: Quantity
    found: dict[float, Quantity]


def roc(
    honest: Sequence[float],
    vicious: Sequence[float],
    *,
    rates: Sequence[float] = (0.0, 0.01, 0.05),
) -> Roc:
    """Area under the ROC curve of a score that is larger for malicious networks, and its use.

    AUC = P(vicious > honest) + P(equal) / 2 over pairs. Interval: Newcombe 2006, method 5, the
    areas A whose distance from the one found is at most 1.96 times

        sqrt(A (1 - A) / (m n) · (1 + ((m + n) / 2 - 1) ((1 - A) / (2 - A) + A / (1 + A))))

    which keeps a width where all are told apart. Shares found: Wilson's interval.

    Example:
        >>> print(roc([1.0, 2.0, 3.0, 4.0], [3.0, 5.0, 6.0, 7.0]).area)
        0.906 [0.482, 0.989] share

    Raises:
        BadData: if a group is empty or a score is NaN.
    """
    low, high = np.asarray(honest, float), np.asarray(vicious, float)
    if not len(low) or not len(high):
        raise BadData(f"{len(low)} honest and {len(high)} malicious scores: give one of each")
    if np.isnan(low).any() or np.isnan(high).any():
        raise BadData("a detector gave NaN: every network needs a number")
    ranks = rankdata(np.concatenate([high, low]))
    m, n = len(high), len(low)
    area = float((ranks[:m].sum() - m * (m + 1) / 2) / (m * n))
    ends = _newcombe(area, m, n)
    found = {}
    for rate in rates:
        allowed = math.floor(rate * n + 1e-9)
        threshold = np.sort(low)[::-1][allowed]
        found[rate] = _share(int((high > threshold).sum()), m)
    return Roc(
        area=Quantity(
            value=area,
            low=ends[0],
            high=ends[1],
            unit="share",
            kind=Kind.MEASURED,
            n=m + n,
            assumptions=("networks are independent draws of the panel's recipes",),
        ),
        found=found,
    )


def _newcombe(area: float, m: int, n: int) -> tuple[float, float]:
    z, half = float(norm.ppf(0.975)), (m + n) / 2 - 1

    def wide(a: float) -> float:
        inner = 1 + half * ((1 - a) / (2 - a) + a / (1 + a))
        return z * math.sqrt(max(0.0, a * (1 - a)) / (m * n) * inner)

    # the distance to the area found falls short of its width next to it and exceeds it far off
    low = 0.0 if area == 0 else brentq(lambda a: (area - a) - wide(a), 0.0, area - 1e-12)
    high = 1.0 if area == 1 else brentq(lambda a: (a - area) - wide(a), area + 1e-12, 1.0)
    return min(float(low), area), max(float(high), area)


def _share(hits: int, n: int) -> Quantity:
    ends = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    return Quantity(
        value=hits / n,
        low=min(float(ends.low), hits / n),
        high=max(float(ends.high), hits / n),
        unit="share",
        kind=Kind.MEASURED,
        n=n,
        assumptions=("the threshold is set on the same honest networks",),
    )
