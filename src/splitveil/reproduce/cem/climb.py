"""Up a ladder of strengths for as long as accuracy keeps."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Climb:
    """The last rung that kept, or the first if none did; and what was reached at those tried."""

    rung: float
    kept: bool
    tried: tuple[tuple[float, float], ...]


def climb(ladder: Sequence[float], reached: Callable[[float], float], floor: float) -> Climb:
    """Find the last rung that reaches `floor`, by bisection.

    A rung behind one that does not reach it is not tried.
    """
    tried: dict[float, float] = {}

    def falls(rung: float) -> bool:
        tried[rung] = reached(rung)
        return not tried[rung] >= floor

    kept = bisect_left(ladder, True, key=falls)
    return Climb(
        rung=ladder[max(0, kept - 1)],
        kept=kept > 0,
        tried=tuple(sorted(tried.items())),
    )
