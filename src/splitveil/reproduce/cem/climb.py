"""Up a ladder of strengths for as long as accuracy keeps."""

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
    low, high = 0, len(ladder)
    while low < high:
        middle = (low + high) // 2
        tried[ladder[middle]] = reached(ladder[middle])
        if tried[ladder[middle]] >= floor:
            low = middle + 1
        else:
            high = middle
    return Climb(
        rung=ladder[max(0, low - 1)],
        kept=any(one >= floor for one in tried.values()),
        tried=tuple(sorted(tried.items())),
    )
