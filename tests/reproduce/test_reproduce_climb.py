"""Climbing a ladder: as far as every rung on the way keeps, at the cost of a bisection."""

from math import ceil, log2

from hypothesis import given
from hypothesis import strategies as st

from splitveil.reproduce.cem.climb import climb

LADDER = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.25)


@given(last=st.integers(0, len(LADDER)))
def test_the_last_rung_that_keeps(last: int) -> None:
    asked: list[float] = []

    def reached(rung: float) -> float:
        asked.append(rung)
        return 0.9 if LADDER.index(rung) < last else 0.7

    top = climb(LADDER, reached, 0.8)
    assert top.rung == LADDER[max(0, last - 1)]
    assert top.kept == (last > 0)
    assert len(asked) <= ceil(log2(len(LADDER) + 1))
    assert sorted(asked) == [rung for rung, _ in top.tried]


@given(st.lists(st.floats(0, 1), min_size=len(LADDER), max_size=len(LADDER)), st.floats(0, 1))
def test_what_is_chosen_was_tried_and_keeps(accuracies: list[float], floor: float) -> None:
    by_rung = dict(zip(LADDER, accuracies, strict=True))
    top = climb(LADDER, by_rung.__getitem__, floor)
    assert all(by_rung[rung] == accuracy for rung, accuracy in top.tried)
    chosen = dict(top.tried)[top.rung]
    assert (chosen >= floor) == top.kept


def test_a_floor_that_is_met_exactly_keeps() -> None:
    assert climb(LADDER, lambda rung: 0.8, 0.8).rung == LADDER[-1]
