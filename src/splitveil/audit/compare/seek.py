"""The strongest setting that keeps an accuracy, found with few trainings for several at once."""

from collections.abc import Callable, Sequence

_NEAR = 0.04
_TURNS = 64


def seek(
    accuracy: Callable[[float], float],
    wanted: Sequence[float],
    *,
    trainings: int,
    same: Callable[[float], object] = lambda place: place,
) -> dict[float, float | None]:
    """Strongest place in [0, 1] found with `accuracy(place) >= level`, for each level wanted.

    Both ends first; then the middle of the widest bracket that any level has left, until brackets
    are narrower than .04 or `trainings` are spent. Accuracy is taken to fall with strength; where
    it does not, the strongest place that was seen to hold stands. Every answer was measured.

    Args:
        accuracy: what a setting keeps, asked at most `trainings` times.
        wanted: levels of accuracy.
        trainings: how often it may be asked; below 1 counts as 1.
        same: places with equal values are one setting, asked once.

    Returns:
        A place for each level, None where not even the weak end holds.
    """
    seen: dict[object, float] = {}
    found: dict[float, float] = {}

    def ask(place: float) -> bool:
        """Measure a place unless the trainings are spent; whether its accuracy is known."""
        key = same(place)
        if key not in seen:
            if len(seen) >= max(1, trainings):
                return False
            seen[key] = accuracy(place)
        found[place] = seen[key]
        return True

    ask(0.0)
    ask(1.0)
    for _ in range(_TURNS):
        open_brackets = [b for level in wanted if (b := _bracket(found, level)) is not None]
        if not open_brackets:
            break
        low, high = max(open_brackets, key=lambda bracket: bracket[1] - bracket[0])
        if high - low < _NEAR or not ask((low + high) / 2):
            break
    return {level: _strongest(found, level) for level in wanted}


def _strongest(found: dict[float, float], level: float) -> float | None:
    return max((place for place, kept in found.items() if kept >= level), default=None)


def _bracket(found: dict[float, float], level: float) -> tuple[float, float] | None:
    """The strongest place that holds and the next that does not; None where nothing is open."""
    low = _strongest(found, level)
    beyond = [place for place in found if low is not None and place > low]
    return None if low is None or not beyond else (low, min(beyond))
