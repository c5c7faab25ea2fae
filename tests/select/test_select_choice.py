"""The choice against brute force, and what must hold whatever the candidates are."""

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from select_candidates import (
    Raw,
    build,
    build_pool,
    candidate,
    quantity,
    raw_candidates,
    raw_limits,
    raw_pools,
)

from splitveil.errors import BadPlan, UnknownName
from splitveil.select import (
    Candidate,
    Chebyshev,
    Lexicographic,
    Limits,
    dominates,
    front,
    minimal_relaxations,
    select,
)
from splitveil.select.limits import breaches

RULES = [Lexicographic(), Chebyshev(), Chebyshev(weights={"leakage": 2, "latency": 1})]


def passes(one: Candidate, bounds: Limits) -> bool:
    """The limits written out one by one."""
    if bounds.max_leakage is not None and not one.leakage.high <= bounds.max_leakage:
        return False
    if bounds.min_accuracy is not None and (
        one.accuracy is None or not one.accuracy.low >= bounds.min_accuracy
    ):
        return False
    if bounds.max_latency is not None and (
        one.latency_p95 is None or not one.latency_p95.high <= bounds.max_latency
    ):
        return False
    for limit, value in (
        (bounds.max_payload, one.payload),
        (bounds.max_memory, one.memory),
        (bounds.max_edge_parameters, one.edge_parameters),
        (bounds.max_energy, one.energy),
    ):
        if limit is not None and (value is None or value > limit):
            return False
    return True


def beats(mine: Candidate, other: Candidate) -> bool:
    """Domination written out: nothing may be worse, something must be better, with certainty."""
    pairs = [
        (
            (mine.leakage.low, mine.leakage.high),
            (other.leakage.low, other.leakage.high),
        )
    ]
    for name, sign in (("accuracy", -1), ("latency", 1)):
        a, b = getattr(mine, name), getattr(other, name)
        if (a is None) != (b is None):
            return False
        if a is not None:
            ends = [sorted((sign * q.low, sign * q.high)) for q in (a, b)]
            pairs.append(((ends[0][0], ends[0][1]), (ends[1][0], ends[1][1])))
    if mine.latency is None:
        if (mine.payload is None) != (other.payload is None):
            return False
        if mine.payload is not None and other.payload is not None:
            a, b = mine.edge_seconds, other.edge_seconds
            assert a is not None
            assert b is not None
            pairs += [
                ((a.low, a.high), (b.low, b.high)),
                ((mine.payload, mine.payload), (other.payload, other.payload)),
            ]
    if (mine.energy is None) != (other.energy is None):
        return False
    if mine.energy is not None and other.energy is not None:
        pairs.append(((mine.energy, mine.energy), (other.energy, other.energy)))
    worse = [a != b and not a[1] <= b[0] for a, b in pairs]
    better = [a[1] < b[0] for a, b in pairs]
    return not any(worse) and any(better)


@given(raw_pools, raw_limits)
def test_selection_is_brute_force(raw: list[Raw], asked: Raw) -> None:
    pool, bounds = build_pool(raw), Limits(**asked)
    found = select(pool, bounds)
    fit = [one for one in pool if passes(one, bounds) and not one.missing]
    best = [one for one in fit if not any(beats(other, one) for other in fit)]
    assert list(found.fitting) == fit
    assert list(found.front) == best
    assert list(found.unproven) == [o for o in pool if passes(o, bounds) and o.missing]
    assert [one for one, _ in found.failing] == [o for o in pool if not passes(o, bounds)]
    assert (found.chosen is None) == (not fit)
    if found.chosen is not None:
        assert found.chosen in best
        least = min(one.leakage.high for one in best)
        near = [one for one in best if one.leakage.high <= least + 0.01]
        assert found.chosen in near
        if all(one.latency is not None for one in near):
            delays = [one.latency.high for one in near if one.latency is not None]
            assert found.chosen.latency is not None
            assert found.chosen.latency.high == min(delays)


@given(raw_candidates, raw_candidates, raw_candidates)
def test_domination_is_a_strict_order(one: Raw, two: Raw, three: Raw) -> None:
    a, b, c = build(one), build(two), build(three)
    assert dominates(a, b) == beats(a, b)
    assert not dominates(a, a)
    assert not (dominates(a, b) and dominates(b, a))
    if dominates(a, b) and dominates(b, c):
        assert dominates(a, c)


@given(raw_pools, raw_limits, st.sampled_from(RULES), st.integers(0, 7), st.integers(0, 7))
def test_a_dominated_candidate_more_changes_nothing(
    raw: list[Raw], asked: Raw, rule: Lexicographic | Chebyshev, which: int, where: int
) -> None:
    pool, bounds = build_pool(raw), Limits(**asked)
    before = select(pool, bounds, rule)
    if not before.fitting:
        return
    better = before.fitting[which % len(before.fitting)]
    high = better.leakage.high
    worse = replace(better, cut="worse", leakage=quantity(high + 0.1, high + 0.2))
    assert dominates(better, worse)
    after = select([*pool[:where], worse, *pool[where:]], bounds, rule)
    assert after.chosen == before.chosen
    assert set(after.front) == set(before.front)
    assert len(after.front) == len(before.front)


@given(raw_pools, raw_limits, raw_limits)
def test_tighter_limits_never_add_a_candidate(raw: list[Raw], asked: Raw, more: Raw) -> None:
    pool, bounds, others = build_pool(raw), Limits(**asked), Limits(**more)
    tight = {}
    for name in ("max_leakage", "min_accuracy", "max_latency", "max_payload", "max_memory"):
        pair = [v for v in (getattr(bounds, name), getattr(others, name)) if v is not None]
        tighter = max if name.startswith("min") else min
        tight[name] = tighter(pair) if pair else None
    loose, strict = select(pool, bounds), select(pool, replace(bounds, **tight))
    assert set(strict.fitting) <= set(loose.fitting)
    assert set(strict.unproven) <= set(loose.unproven)


@given(raw_pools, raw_limits)
def test_relaxations_make_it_fit_and_no_part_can_be_spared(raw: list[Raw], asked: Raw) -> None:
    pool, bounds = build_pool(raw), Limits(**asked)
    proven = [one for one in pool if not one.missing]
    found = select(pool, bounds)
    if found.fitting:
        assert found.relaxations == ()
        return
    assert bool(found.relaxations) == bool(proven)
    sizes = [len(one.breaches) for one in found.relaxations]
    assert sizes == sorted(sizes)
    for one in found.relaxations:
        relaxed = one.apply(bounds)
        assert passes(one.candidate, relaxed)
        assert select(pool, relaxed).chosen is not None
        for breach in one.breaches:  # giving one limit back excludes the candidate again
            assert not passes(one.candidate, replace(relaxed, **{breach.name: breach.limit}))
    for failed in proven:  # everyone who fails is matched by a relaxation that asks no more
        own = {breach.name: breach.excess for breach in breaches(failed, bounds)}
        assert any(
            all(breach.excess <= own.get(breach.name, 0) for breach in other.breaches)
            for other in found.relaxations
        )


def needs(one: Candidate, bounds: Limits) -> dict[str, float]:
    """How far each limit must move for one candidate, measured on the candidate itself."""
    found = {}
    for name, limit in bounds.given().items():
        broken = not passes(one, Limits(**{name: limit}))
        value = {breach.name: breach.value for breach in breaches(one, bounds)}.get(name)
        found[name] = 0.0 if not broken else math.inf if value is None else abs(value - limit)
    return found


@given(raw_pools, raw_limits)
def test_relaxations_are_all_minimal_ones_of_an_exhaustive_search(
    raw: list[Raw], asked: Raw
) -> None:
    """A second method: try every combination of changes of limits that any candidate needs."""
    pool = [one for one in build_pool(raw) if not one.missing][:4]
    bounds = Limits(**asked)
    names = list(bounds.given())[:4]
    bounds = Limits(**{name: bounds.given()[name] for name in names})
    if any(passes(one, bounds) for one in pool) or not pool or not names:
        return
    needed = [needs(one, bounds) for one in pool]
    steps = [sorted({0.0, *(need[name] for need in needed)}) for name in names]

    def enough(change: tuple[float, ...]) -> bool:
        return any(all(need[n] <= c for n, c in zip(names, change, strict=True)) for need in needed)

    working = [change for change in itertools.product(*steps) if enough(change)]
    minimal = {
        change
        for change in working
        if not any(
            other != change and all(a <= b for a, b in zip(other, change, strict=True))
            for other in working
        )
    }
    found = {
        tuple({b.name: abs(b.excess) for b in one.breaches}.get(name, 0.0) for name in names)
        for one in minimal_relaxations(pool, bounds)
    }
    assert found == minimal


def test_the_least_relaxation_comes_first_and_reads_as_an_option() -> None:
    near = candidate("near", latency=quantity(0.02, 0.0231, "s"))
    far = candidate("far", latency=quantity(0.03, 0.05, "s"))
    other = candidate("other", leakage=quantity(0.3, 0.9), accuracy=quantity(0.1, 0.2))
    bounds = Limits(max_latency=0.02, max_leakage=0.5, min_accuracy=0.7)
    found = minimal_relaxations([far, other, near], bounds)
    assert [one.candidate.cut for one in found] == ["near", "other"]
    assert str(found[0]) == "--max-latency 23.1ms (+3.1ms)"
    assert str(found[1]) == "--max-leakage 0.9 (+0.4) and --min-accuracy 0.1 (-0.6)"


def test_what_was_not_measured_can_only_be_dropped() -> None:
    (found,) = minimal_relaxations([candidate(accuracy=None)], Limits(min_accuracy=0.5))
    assert found.limits == {"min_accuracy": None}
    assert str(found) == "drop --min-accuracy: accuracy was not measured"


def test_cheap_attacks_alone_choose_nothing() -> None:
    proven = candidate("proven", leakage=quantity(0.4, 0.5))
    cheap = candidate("cheap", leakage=quantity(0.0, 0.1), missing=("Decoder()",))
    found = select([cheap, proven], Limits())
    assert found.chosen == proven
    assert found.unproven == (cheap,)
    assert select([cheap], Limits()).chosen is None


def test_leakage_within_the_tolerance_yields_to_delay() -> None:
    slow = candidate("slow", leakage=quantity(0.1, 0.200), latency=quantity(0.5, 0.6, "s"))
    fast = candidate("fast", leakage=quantity(0.1, 0.209), latency=quantity(0.1, 0.2, "s"))
    assert Lexicographic().best([slow, fast]) == fast
    assert Lexicographic(tolerance=0).best([slow, fast]) == slow
    assert Lexicographic().best([]) is None


def test_chebyshev_by_hand() -> None:
    # distances from ideal (0.1, 1 s) to nadir (0.5, 3 s): (0, 1), (0.5, 0.25), (1, 0)
    at = [(0.1, 3.0), (0.3, 1.5), (0.5, 1.0)]
    pool = [
        candidate(str(i), leakage=quantity(x, x), latency=quantity(t, t, "s"), accuracy=None)
        for i, (x, t) in enumerate(at)
    ]
    assert front(pool) == tuple(pool)
    assert Chebyshev(weights={"leakage": 1, "latency": 1}).best(pool) == pool[1]
    assert Chebyshev(weights={"leakage": 9, "latency": 1}).best(pool) == pool[0]
    assert Chebyshev(weights={"leakage": 1, "latency": 9}).best(pool) == pool[2]
    assert Chebyshev(weights={"accuracy": 1, "leakage": 1}).best(pool) == pool[0]
    assert Chebyshev().best([]) is None


@pytest.mark.parametrize(
    "weights", [{"leakage": -1.0}, {"leakage": 0.0}, {}, {"latency": math.nan}]
)
def test_weights_that_weigh_nothing_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(BadPlan):
        Chebyshev(weights=weights)
    with pytest.raises(UnknownName, match="leakage"):
        Chebyshev(weights={"leakge": 1.0})


@pytest.mark.parametrize(
    "bad", [{"max_leakage": 1.5}, {"max_payload": -1.0}, {"max_latency": math.nan}]
)
def test_limits_that_make_no_sense_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(BadPlan):
        Limits(**bad)
