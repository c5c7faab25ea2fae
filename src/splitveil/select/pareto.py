"""Which candidates are beaten, where only intervals that separate count as a difference."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from splitveil.quantities import Quantity
from splitveil.select.candidates import Candidate

Interval = tuple[float, float]

OBJECTIVES = ("leakage", "accuracy", "latency", "payload", "energy")
"""What a front is made of, in the order of `objectives`."""

_BLOCK = 256


def _ends(quantity: Quantity | None, sign: int = 1) -> Interval | None:
    if quantity is None:
        return None
    return (quantity.low, quantity.high) if sign > 0 else (-quantity.high, -quantity.low)


def objectives(candidate: Candidate) -> tuple[Interval | None, ...]:
    """Intervals of leakage, minus accuracy, delay, payload and energy: less is better.

    The delay is the median latency; where no bandwidth is known it is the device's time, and the
    payload stands beside it. None is what was not measured.
    """
    known = candidate.payload is not None
    delay = candidate.latency or (candidate.edge_seconds if known else None)
    payload = None
    if candidate.latency is None and candidate.payload is not None:
        payload = (float(candidate.payload), float(candidate.payload))
    energy = None
    if candidate.energy is not None:
        energy = (float(candidate.energy), float(candidate.energy))
    return _ends(candidate.leakage), _ends(candidate.accuracy, -1), _ends(delay), payload, energy


def cautious(candidate: Candidate) -> tuple[float | int, ...]:
    """The cautious end of each objective, less is better; infinite where nothing was measured."""
    return tuple(math.inf if ends is None else ends[1] for ends in objectives(candidate))


def dominates(better: Candidate, worse: Candidate) -> bool:
    """Whether one candidate is certainly no worse in anything and certainly better in something.

    Certainly no worse: its interval ends before the other's begins, or both are the same numbers
    (all cuts without a release share one accuracy). Certainly better: it ends strictly before.
    Overlapping intervals decide nothing, so the relation is transitive and has no circles.
    """
    low, high = _columns([better, worse])
    return bool(_beaten(low, high, low[:1], high[:1])[1])


def front(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The candidates that no other dominates, in the order given.

    All pairs are compared, a block at a time: 10,000 candidates take seconds.
    """
    low, high = _columns(candidates)
    beaten = np.zeros(len(candidates), dtype=bool)
    for start in range(0, len(candidates), _BLOCK):
        block = slice(start, start + _BLOCK)
        beaten |= _beaten(low, high, low[block], high[block])
    return tuple(one for one, out in zip(candidates, beaten, strict=True) if not out)


def least(excess: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows no other row undercuts: no larger anywhere, smaller somewhere; (n, k) to (n)."""
    beaten = np.zeros(len(excess), dtype=bool)
    for start in range(0, len(excess), _BLOCK):
        block = excess[start : start + _BLOCK]
        beaten |= _beaten(excess, excess, block, block)
    return ~beaten


def _columns(candidates: Sequence[Candidate]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper ends, one row a candidate; NaN where nothing was measured."""
    rows = [
        [(np.nan, np.nan) if ends is None else ends for ends in objectives(one)]
        for one in candidates
    ]
    ends = np.array(rows, dtype=np.float64).reshape(len(candidates), len(OBJECTIVES), 2)
    return ends[..., 0], ends[..., 1]


def _beaten(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    by_low: NDArray[np.float64],
    by_high: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Which rows of (low, high) are dominated by some row of (by_low, by_high)."""
    never_worse = np.ones((len(by_low), len(low)), dtype=bool)
    better = np.zeros_like(never_worse)
    for k in range(low.shape[1]):
        mine = by_low[:, k, None], by_high[:, k, None]
        same = (mine[0] == low[:, k]) & (mine[1] == high[:, k])
        unknown = np.isnan(mine[0]) & np.isnan(low[:, k])
        never_worse &= same | unknown | (mine[1] <= low[:, k])
        better |= mine[1] < low[:, k]
    return np.asarray((never_worse & better).any(axis=0))
