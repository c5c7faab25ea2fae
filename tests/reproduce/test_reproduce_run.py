"""Arms run once each, survive kills, and fail without sinking the rest."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import reproduce_toys as toys

from splitveil.audit.store import Store, open_run
from splitveil.errors import BadPlan, UnknownName
from splitveil.records import Status
from splitveil.reproduce import Evidence, Finding, Scale, Verdict, load_paper, reproduce
from splitveil.reproduce.run import Ended, _MakeWork, judge, scope

PLAN = toys.PAPER.plan(Scale(seeds=2))


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    toys.RAN.clear()


def test_arms_that_two_experiments_share_run_once(tmp_path: Path) -> None:
    assert len(PLAN.arms) == 3
    assert PLAN.minutes == 1.25
    reproduce(PLAN, tmp_path)
    assert len(toys.RAN) == len(set(toys.RAN)) == 3


def test_a_failed_arm_is_an_outcome_with_a_reason_and_sinks_nothing(tmp_path: Path) -> None:
    found = reproduce(PLAN, tmp_path)
    verdicts = {f.claim.id: f.verdict for f in found.findings}
    assert verdicts == {
        "toy.C1": Verdict.HOLDS,
        "toy.C2": Verdict.UNDECIDED,
        "toy.C3": Verdict.UNDECIDED,
    }
    assert [one.reason for one in found.failed] == [
        "BadData: there is nothing to measure: bring something"
    ]
    notes = {f.claim.id: f.note for f in found.findings}
    assert "bring something" in notes["toy.C2"]
    assert "not run" in notes["toy.C3"]


def test_a_second_run_goes_on_and_tries_only_what_failed(tmp_path: Path) -> None:
    first = reproduce(PLAN, tmp_path)
    toys.RAN.clear()
    again = reproduce(PLAN, tmp_path)
    assert [repr(toys.Broken())] == toys.RAN
    assert again.findings == first.findings


def test_a_kill_costs_the_running_arm_alone(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(ended: Ended) -> None:
        if ended.done == 2:
            raise Killed

    with pytest.raises(Killed):
        reproduce(PLAN, tmp_path, on_arm=kill)
    records = tmp_path / "records.jsonl"
    with records.open("ab") as file:
        file.write(b'{"id": "half a li')  # what a kill in the middle of a write leaves
    toys.RAN.clear()
    resumed = reproduce(PLAN, tmp_path)
    assert len(toys.RAN) == 1
    whole = reproduce(PLAN, tmp_path / "other")
    assert resumed.findings == whole.findings


def test_more_seeds_keep_the_records_of_fewer(tmp_path: Path) -> None:
    reproduce(PLAN, tmp_path)
    toys.RAN.clear()
    reproduce(toys.PAPER.plan(Scale(seeds=3), ["C1"]), tmp_path)
    assert [repr(toys.Draws(seed=2, centre=2.0))] == toys.RAN


def test_arrays_and_minutes_are_kept_with_the_record(tmp_path: Path) -> None:
    found = reproduce(PLAN, tmp_path)
    evidence = Evidence.of(open_run(tmp_path), scope(toys.PAPER))
    arm = PLAN.arms[0]
    measured = evidence.take(arm)
    assert measured.arrays["x"].mean() == pytest.approx(measured.quantities["mean"].value)
    outcome = evidence.outcome(arm)
    assert outcome is not None
    assert outcome.status is Status.DONE
    assert outcome.details["declared_minutes"] == 0.5
    assert 0 <= outcome.details["cpu_seconds"] < 30
    assert found.spent_minutes == pytest.approx(evidence.cpu_minutes(PLAN.arms))


def test_the_findings_on_the_disk_are_those_returned(tmp_path: Path) -> None:
    found = reproduce(PLAN, tmp_path)
    stored = json.loads((tmp_path / "findings.json").read_text())
    assert tuple(Finding.from_json(one) for one in stored["findings"]) == found.findings
    assert stored["complete"] is False
    assert stored["declared_minutes"] == 1.25
    assert judge(PLAN, tmp_path).findings == found.findings


def test_the_page_has_a_row_a_number_and_says_what_was_not_run(tmp_path: Path) -> None:
    found = reproduce(PLAN, tmp_path)
    page = (tmp_path / "findings.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + 2 + 1 + 1
    assert {len(row) for row in rows} == {6}
    assert rows[2][1] == "**holds**"
    assert rows[4][1] == rows[5][1] == "not run"
    assert "toy.C2: Broken(seed=0) failed" in page
    shown_first = found.findings[0].quantities[0].quantity
    assert f"{shown_first.value:.3g} [{shown_first.low:.3g}" in page


def test_another_revision_does_not_take_old_records(tmp_path: Path) -> None:
    from dataclasses import replace

    reproduce(PLAN, tmp_path)
    newer = replace(toys.PAPER, revision=2)
    with pytest.raises(BadPlan, match="choose another folder"):
        reproduce(newer.plan(Scale(seeds=2)), tmp_path)


def test_worker_processes_find_the_arms_of_a_paper_by_its_name(tmp_path: Path) -> None:
    plan = load_paper("gpz").plan(Scale(), ["C12"])
    with Store(tmp_path) as store:
        store.write_json("manifest.json", {})
    make = pickle.loads(pickle.dumps(_MakeWork("gpz", plan.scale, tmp_path)))
    desk = make()
    key = scope(plan.paper)
    assert {arm.trial(key).id for arm in plan.arms} <= set(desk.arms)


def test_two_runs_cannot_write_in_one_folder(tmp_path: Path) -> None:
    with Store(tmp_path), pytest.raises(BadPlan, match="writing"):
        reproduce(PLAN, tmp_path)


def test_unknown_names_are_refused_with_near_ones() -> None:
    with pytest.raises(UnknownName, match=r"toy\.C1"):
        toys.PAPER.plan(Scale(), ["C9"])
    with pytest.raises(UnknownName, match="gpz"):
        load_paper("gbz")
    with pytest.raises(UnknownName, match="small"):
        Scale(name="smal")
    with pytest.raises(BadPlan, match="seeds"):
        Scale(seeds=0)


def test_seeds_change_what_is_drawn(tmp_path: Path) -> None:
    reproduce(PLAN, tmp_path)
    evidence = Evidence.of(open_run(tmp_path), scope(toys.PAPER))
    first, second = (evidence.take(arm).arrays["x"] for arm in PLAN.experiments[0].arms)
    assert not np.array_equal(first, second)
