"""Which candidates are beaten, where only intervals that separate count as a difference."""

from collections.abc import Sequence

from splitveil.quantities import Quantity
from splitveil.select.candidates import Candidate

Interval = tuple[float, float]


def _ends(quantity: Quantity | None, sign: int = 1) -> Interval | None:
    if quantity is None:
        return None
    return (quantity.low, quantity.high) if sign > 0 else (-quantity.high, -quantity.low)


def objectives(candidate: Candidate) -> tuple[Interval | None, ...]:
    """Intervals of leakage, minus accuracy, delay and payload: less is better.

    The delay is the latency; where no bandwidth is known it is the device's time, and the payload
    stands beside it. None is what was not measured.
    """
    known = candidate.payload is not None
    delay = candidate.latency or (candidate.edge_seconds if known else None)
    payload = None
    if candidate.latency is None and candidate.payload is not None:
        payload = (float(candidate.payload), float(candidate.payload))
    return _ends(candidate.leakage), _ends(candidate.accuracy, -1), _ends(delay), payload


def dominates(better: Candidate, worse: Candidate) -> bool:
    """Whether one candidate is certainly no worse in anything and certainly better in something.

    Certainly no worse: its interval ends before the other's begins, or both are the same numbers
    (all cuts without a release share one accuracy). Certainly better: it ends strictly before.
    Overlapping intervals decide nothing, so the relation is transitive and has no circles.
    """
    pairs = list(zip(objectives(better), objectives(worse), strict=True))
    no_worse = all(
        mine == other or (mine is not None and other is not None and mine[1] <= other[0])
        for mine, other in pairs
    )
    return no_worse and any(
        mine is not None and other is not None and mine[1] < other[0] for mine, other in pairs
    )


def front(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The candidates that no other dominates, in the order given."""
    return tuple(
        one for one in candidates if not any(dominates(other, one) for other in candidates)
    )
