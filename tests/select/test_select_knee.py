"""The knee of a front against plain geometry."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from select_candidates import Raw, build_pool, candidate, quantity, raw_pools

from splitveil.errors import BadPlan, UnknownName
from splitveil.select import Candidate, Knee, Limits, front, select
from splitveil.select.pareto import cautious


def at(name: str, leakage: float, latency: float) -> Candidate:
    return candidate(
        name,
        leakage=quantity(leakage, leakage),
        latency=quantity(latency, latency, "s"),
        accuracy=None,
    )


def distance_below(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    """From the cross product: positive on the origin's side of the chord."""
    chord, there = end - start, point - start
    return float(there[0] * chord[1] - there[1] * chord[0]) / math.hypot(*chord)


def test_the_knee_by_hand() -> None:
    pool = [at("a", 0.1, 1.0), at("b", 0.2, 0.3), at("c", 0.4, 0.2), at("d", 0.9, 0.1)]
    knee = Knee()
    assert knee.best(pool) == pool[1]
    # (0.125, 2/9) in units of the chord
    assert knee.below(pool)[pool[1]] == pytest.approx((1 - 0.125 - 2 / 9) / math.sqrt(2))
    assert knee.below(pool)[pool[0]] == knee.below(pool)[pool[3]] == 0.0
    assert Knee(between=("latency", "leakage")).best(pool) == pool[1]
    assert select(pool, Limits(), knee).chosen == pool[1]


def test_a_straight_or_hollow_front_has_no_knee() -> None:
    hollow = [at("a", 0.0, 1.0), at("b", 0.7, 0.7), at("c", 1.0, 0.0)]
    for pool in (hollow, hollow[:1], hollow[::2]):
        assert Knee().find(pool) is None
        assert Knee().best(pool) == pool[0]  # the least leakage
    assert Knee().best([]) is None
    assert Knee(between=("energy", "leakage")).find(hollow) is None  # energy was never measured


@given(raw_pools, st.sampled_from([("leakage", "latency"), ("payload", "leakage")]))
def test_the_knee_is_the_furthest_below_the_chord(raw: list[Raw], between: tuple[str, str]) -> None:
    pool = list(front(build_pool(raw)))
    names = ("leakage", "accuracy", "latency", "payload", "energy")
    columns = [names.index(name) for name in between]
    points = {one: np.array([cautious(one)[k] for k in columns]) for one in pool}
    points = {one: point for one, point in points.items() if np.isfinite(point).all()}
    found = Knee(between=between).find(pool)
    if not points:
        assert found is None
        return
    left = min(points.values(), key=lambda p: (p[0], p[1]))
    right = min(points.values(), key=lambda p: (p[1], p[0]))
    scale = np.array([right[0] - left[0], left[1] - right[1]])
    if not (scale > 0).all():
        assert found is None
        return
    below = {
        one: distance_below(p / scale, left / scale, right / scale) for one, p in points.items()
    }
    most = max(below.values())
    if most <= 1e-9:
        assert found is None
    else:
        assert found is not None
        assert below[found] == pytest.approx(most, abs=1e-9)


def test_bad_knees_are_refused() -> None:
    with pytest.raises(UnknownName, match="leakage"):
        Knee(between=("leakge", "latency"))
    with pytest.raises(BadPlan, match="two objectives"):
        Knee(between=("latency", "latency"))
