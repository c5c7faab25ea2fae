"""The least worst regret against brute force, and runs whose attackers differ."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from select_candidates import Raw, build_pool, candidate, quantity, raw_limits, raw_pools
from select_runs import accuracy, attack, write_run

from splitveil.errors import BadPlan
from splitveil.select import (
    Candidate,
    Chebyshev,
    Knee,
    Lexicographic,
    Limits,
    Link,
    Question,
    Scenario,
    least_regret,
    read_records,
    regrets,
    select,
    sensitivity,
    worst_case,
)
from splitveil.select.limits import breaches


def fits(one: Candidate, limits: Limits) -> bool:
    return not one.missing and not breaches(one, limits)


@given(st.lists(raw_pools, min_size=1, max_size=3), raw_limits)
def test_least_worst_regret_is_brute_force(raw: list[list[Raw]], asked: Raw) -> None:
    limits = Limits(**asked)
    scenarios = [
        Scenario(name=str(i), candidates=tuple(build_pool(pool))) for i, pool in enumerate(raw)
    ]
    table = regrets(scenarios, limits, Lexicographic(tolerance=0))
    everyone = {one.cut for s in scenarios for one in s.candidates}
    assert {one.candidate.cut for one in table} == everyone
    worst: dict[str, float] = {}
    for cut in everyone:
        lost = []
        for scenario in scenarios:
            there = [one for one in scenario.candidates if one.cut == cut]
            if not there or not fits(there[0], limits):
                lost.append(math.inf)
                continue
            best = min(o.leakage.high for o in scenario.candidates if fits(o, limits))
            lost.append(there[0].leakage.high - best)
        worst[cut] = max(lost)
    for row in table:
        assert row.worst == pytest.approx(worst[row.candidate.cut])
    chosen = least_regret(table, Lexicographic(tolerance=0))
    least = min(worst.values(), default=math.inf)
    assert (chosen is None) == (least == math.inf)
    if chosen is not None:
        assert worst[chosen.cut] == pytest.approx(least)


@given(st.lists(raw_pools, min_size=1, max_size=3), raw_limits)
def test_the_worst_case_fits_exactly_where_all_scenarios_do(
    raw: list[list[Raw]], asked: Raw
) -> None:
    limits = Limits(**asked)
    # memory, payload and joules of a cut are the same in all scenarios, as they are in life
    first = {one["cut"]: one for pool in raw for one in reversed(pool)}
    fixed = ("memory", "payload", "energy", "edge_parameters")
    pools = [
        [{**one, **{k: first[one["cut"]].get(k) for k in fixed}} for one in pool] for pool in raw
    ]
    scenarios = [
        Scenario(name=str(i), candidates=tuple(build_pool(pool))) for i, pool in enumerate(pools)
    ]
    for one in worst_case(scenarios):
        there = [o for s in scenarios for o in s.candidates if o.cut == one.cut]
        everywhere = len(there) == len(scenarios) and all(fits(o, limits) for o in there)
        assert fits(one, limits) == everywhere


def test_regret_by_hand() -> None:
    """The best of either scenario is bad in the other; the middle one is chosen."""
    losses = {"a": (0.1, 0.8), "b": (0.3, 0.4), "c": (0.7, 0.2)}
    scenarios = [
        Scenario(
            name=name,
            candidates=tuple(
                candidate(cut, leakage=quantity(pair[i], pair[i])) for cut, pair in losses.items()
            ),
        )
        for i, name in enumerate(("own", "shifted"))
    ]
    table = regrets(scenarios, Limits(), Lexicographic())
    assert table[0].candidate.cut == "b"
    assert [row.worst for row in table] == pytest.approx([0.2, 0.6, 0.6])
    assert table[0].by_scenario == pytest.approx({"own": 0.2, "shifted": 0.2})
    chosen = least_regret(table, Lexicographic())
    assert chosen is not None
    assert (chosen.cut, chosen.leakage.high) == ("b", 0.4)  # at its worst
    strict = regrets(scenarios, Limits(max_leakage=0.35), Lexicographic())
    assert {row.candidate.cut: row.by_scenario["shifted"] for row in strict}["b"] is None
    assert least_regret(strict, Lexicographic()) is None
    weighed = regrets(scenarios, Limits(), Chebyshev(weights={"leakage": 2}))
    assert weighed[0].candidate.cut == "b"


def test_one_scenario_is_the_plain_choice(tmp_path: Path) -> None:
    records = read_records(write_run(tmp_path, OUTCOMES))
    question = Question(
        runs=(records,), limits=Limits(max_leakage=0.9), links=(Link(bandwidth=1e6),)
    )
    (scenario,) = question.scenarios()
    assert question.answer() == select(scenario.candidates, Limits(max_leakage=0.9))
    assert question.answer().regrets == ()


OUTCOMES = [
    accuracy("*", 0.9),
    attack("early", "Ridge()", 0.8),
    attack("middle", "Ridge()", 0.5),
    attack("late", "Ridge()", 0.2),
    attack("early", "Decoder()", 0.7),
    attack("middle", "Decoder()", 0.4),
    attack("late", "Decoder()", 0.3),
]


def test_a_slow_and_a_fast_link(tmp_path: Path) -> None:
    records = read_records(write_run(tmp_path, OUTCOMES))
    slow, fast = Link(bandwidth=1e5), Link(bandwidth=1e8)
    # edge 2, 4, 6 ms; 4,000, 2,000, 1,000 bytes take 320, 160, 80 ms on the slow link
    limits = Limits(max_latency=0.15)
    found = Question(runs=(records,), limits=limits, links=(fast, slow)).answer()
    assert [one.name for one in found.fitting] == ["late"]
    assert found.chosen is not None
    assert found.chosen.latency_p95 is not None
    assert found.chosen.latency_p95.high == pytest.approx(0.006 + 0.08 + 0.002)
    by_cut = {row.candidate.name: row.by_scenario for row in found.regrets}
    assert by_cut["early"] == {"100Mbit": pytest.approx(0.5), "100kbit": None}
    impossible = replace(limits, max_latency=0.05)
    nothing = Question(runs=(records,), limits=impossible, links=(fast, slow)).answer()
    assert nothing.chosen is None
    assert nothing.relaxations


def test_an_attacker_with_better_images_counts_and_so_does_each_attack(tmp_path: Path) -> None:
    shifted = write_run(tmp_path / "shifted", OUTCOMES)
    stronger = [attack("late", "Decoder()", 0.6), *OUTCOMES[:6]]
    own = write_run(tmp_path / "own", stronger)
    question = Question(runs=(read_records(shifted), read_records(own)))
    found = question.answer()
    assert found.chosen is not None
    assert (found.chosen.name, found.chosen.leakage.value) == ("late", 0.6)
    without = {one.attack: one for one in sensitivity(question)}
    assert set(without) == {"Decoder", "Ridge"}
    assert not without["Ridge"].changes(found.chosen)
    assert without["Decoder"].leaks is not None
    assert without["Decoder"].leaks.leakage.value == 0.6


def test_a_cut_that_one_run_left_out_is_not_chosen(tmp_path: Path) -> None:
    whole = write_run(tmp_path / "whole", OUTCOMES)
    part = write_run(tmp_path / "part", [o for o in OUTCOMES if o.trial.cut != "id-late"])
    found = Question(runs=(read_records(whole), read_records(part))).answer()
    assert found.chosen is not None
    assert found.chosen.name == "middle"
    (late,) = found.unproven
    assert late.missing == (f"any attack in {tmp_path / 'part'}",)


def test_bad_questions_are_refused(tmp_path: Path) -> None:
    one = read_records(write_run(tmp_path / "one", OUTCOMES))
    run = write_run(tmp_path / "two", OUTCOMES)
    manifest = json.loads((run.path / "manifest.json").read_text())
    manifest["model"]["digest"] = "ef" * 32
    (run.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadPlan, match="same network"):
        Question(runs=(one, read_records(run)))
    with pytest.raises(BadPlan, match="at least one run"):
        Question(runs=())
    links = (Link(bandwidth=1e6), Link(bandwidth=1e6))
    with pytest.raises(BadPlan, match="names, each its own"):
        Question(runs=(one,), links=links).answer()
    with pytest.raises(BadPlan, match="puts no number"):
        Question(runs=(one,), links=links, prefer=Knee())
