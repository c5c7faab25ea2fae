import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import audit_tiny
import numpy as np
import pytest
from audit_tiny import Fails, plan, write_images

from splitveil.audit.events import Begun, Ended, Event, Finished, Stage, Utility, Warned
from splitveil.audit.plan import load_plan
from splitveil.audit.run import preview, run_audit
from splitveil.audit.settings import to_mapping
from splitveil.audit.store import Run, open_run
from splitveil.errors import BadModel, BadPlan, UnknownName
from splitveil.quantities import Quantity
from splitveil.records import Status, Task

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An audit that nothing disturbs."""
    return run_audit(plan(data), tmp_path_factory.mktemp("runs") / "whole")


def test_every_attack_is_scored_by_its_risk(whole: Run) -> None:
    found = {o.trial.method: o for o in whole.outcomes() if o.trial.task is Task.ATTACK}
    assert found
    for outcome in found.values():
        assert {"risk", "log_risk", "channel_used"} <= set(outcome.quantities)
    ridges = [o.quantities for name, o in found.items() if name.startswith("Ridge")]
    assert all(one["risk"].low > 1 for one in ridges)
    assert ridges


def content(run: Run) -> dict[str, Any]:
    """All that a run's records and artefacts say, but for where and how long."""
    found = {}
    for outcome in run.outcomes():
        record = outcome.to_json()
        for name in ("seconds", "environment", "check"):
            del record[name]
        arrays = run.artefact(outcome.artefact) if outcome.artefact else {}
        found[outcome.trial.id] = (record, {k: v.tobytes() for k, v in arrays.items()})
    return found


def start(folder: Path, settings: dict[str, Any]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, str(HERE / "audit_tiny.py"), str(folder), json.dumps(settings)]
    return subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for_lines(folder: Path, count: int, process: "subprocess.Popen[bytes]") -> None:
    file = folder / "records.jsonl"
    deadline = time.monotonic() + 120
    while not file.exists() or file.read_bytes().count(b"\n") < count:
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_run_holds_what_its_readers_expect(whole: Run) -> None:
    manifest, summary = whole.manifest, whole.summary
    assert manifest["demo"] is False
    assert manifest["data"]["test"] == 80
    assert manifest["threat"]["knows_label"] is True
    cuts = {(c.get("cut", c))["id"] for c in manifest["cuts"]}
    assert len(cuts) >= 3
    assert summary["complete"] is True
    assert summary["failures"] == []
    assert {entry["cut"] for entry in summary["leakage"]} == cuts
    attacks = [o for o in whole.outcomes() if o.trial.task is Task.ATTACK]
    for outcome in attacks:
        arrays = whole.artefact(outcome.artefact)
        assert len(arrays["mse_test"]) == 80
        assert arrays["reconstructions"].dtype == np.uint8
        assert arrays["reconstructions"].shape == (16, 1, 8, 8)
        mse = outcome.quantities["mse"]
        assert math.isclose(mse.value, float(arrays["mse_test"].mean()))
        assert mse.n == 80
    (moments,) = [o for o in whole.outcomes() if o.trial.task is Task.MOMENTS]
    assert set(moments.details["cuts"]) == cuts
    assert "radius" in next(iter(moments.details["cuts"].values()))
    originals = whole.artefact("originals")
    assert originals["images"].shape == (16, 1, 8, 8)
    assert originals["labels"].shape == (16,)


def test_the_best_attack_is_chosen_on_validation_and_scored_on_test(whole: Run) -> None:
    attacks = [o for o in whole.outcomes() if o.trial.task is Task.ATTACK]
    floors = [o for o in attacks if o.trial.cut == "*"]
    assert len(floors) == 2
    for entry in whole.summary["leakage"]:
        here = [
            o for o in attacks if (o.trial.cut, o.trial.release) == (entry["cut"], entry["release"])
        ]
        best = min([*here, *floors], key=lambda o: o.quantities["validation_mse"].value)
        assert entry["attack"] == best.trial.method
        assert Quantity.from_json(entry["quantity"]) == best.quantities["leakage"]
        assert entry["attacks"] == 2


def test_leakage_is_one_minus_error_over_class_mean_error(whole: Run) -> None:
    attacks = [o for o in whole.outcomes() if o.trial.task is Task.ATTACK]
    (floor,) = [o for o in attacks if o.trial.method == "ClassMean()"]
    for outcome in attacks:
        expected = 1 - outcome.quantities["mse"].value / floor.quantities["mse"].value
        assert math.isclose(
            outcome.quantities["leakage"].value, min(1.0, max(0.0, expected)), abs_tol=1e-9
        )


def test_the_noise_arm_has_a_bound_below_every_attack(whole: Run) -> None:
    noisy = [entry for entry in whole.summary["leakage"] if entry["release"] != "Identity()"]
    assert noisy
    for entry in noisy:
        bound = Quantity.from_json(entry["bound"])
        assert bound.is_bound
        assert entry["word"] == ("BOUNDED" if bound.value > 0 else "RECOVERED")
        assert bound.value <= Quantity.from_json(entry["mse"]).high
        assert Quantity.from_json(entry["utility"]).unit == "share"
    assert any(entry["word"] == "BOUNDED" for entry in noisy)
    assert "BOUNDED" in whole.summary["verdict"]
    assert whole.summary["alarms"] == []


def test_claims_stay_within_what_is_known(whole: Run) -> None:
    text = json.dumps(whole.summary).lower()
    assert not any(word in text for word in ("anonym", "complian", "is safe"))
    assert "not a limit" in whole.summary["verdict"]
    assert len(whole.summary["not_tested"]) >= 5


def test_worker_processes_give_the_same_bits(data: Path, whole: Run, tmp_path: Path) -> None:
    events: list[Event] = []
    run = run_audit(plan(data, jobs=2), tmp_path, on_event=events.append)
    assert content(run) == content(whole)
    assert not (tmp_path / ".images.safetensors").exists()
    kinds = [type(event) for event in events]
    assert kinds[0] is Stage
    assert kinds[-1] is Finished
    assert kinds.index(Utility) < kinds.index(Begun) < kinds.index(Ended)
    (begun,) = [event for event in events if isinstance(event, Begun)]
    ended = [event for event in events if isinstance(event, Ended)]
    assert len(ended) == begun.todo == ended[-1].of == ended[-1].done


def test_other_trials_change_no_number(data: Path, whole: Run, tmp_path: Path) -> None:
    fewer = run_audit(plan(data, attacks=["Ridge()"], releases=["none"]), tmp_path)
    mine, all_ = content(fewer), content(whole)
    assert mine.items() <= all_.items()
    assert len(mine) < len(all_)
    again = run_audit(plan(data), tmp_path)
    assert content(again) == all_


def test_a_finished_run_is_not_done_twice(data: Path, whole: Run) -> None:
    before = (whole.path / "records.jsonl").read_bytes()
    events: list[Event] = []
    run_audit(plan(data), whole.path, on_event=events.append)
    assert (whole.path / "records.jsonl").read_bytes() == before
    (begun,) = [event for event in events if isinstance(event, Begun)]
    assert begun.todo == 0
    assert begun.kept == len(whole.outcomes()) - 1


def test_the_stored_settings_repeat_the_run(data: Path, whole: Run, tmp_path: Path) -> None:
    stored = load_plan(whole.path / "splitveil.toml")
    assert stored == plan(data)
    assert content(run_audit(stored, tmp_path)) == content(whole)


def test_dry_run_counts_what_a_run_does(data: Path, whole: Run) -> None:
    found = preview(plan(data))
    assert {trial.id for trial in found.trials} == {o.trial.id for o in whole.outcomes()}
    assert sum(found.counts().values()) == len(found.trials)
    assert found.seconds > 0
    assert found.bytes > 1e8
    planned = {(one.trial.cut, one.trial.method) for one in found.left}
    assert planned == {(e["cut"], e["method"]) for e in whole.summary["not_attacked"]}


SLOW = ["audit_tiny:Slow(seconds=0.15)", "Ridge()"]


@pytest.mark.parametrize("jobs", [0, 2])
def test_killed_and_resumed_equals_undisturbed(data: Path, tmp_path: Path, jobs: int) -> None:
    settings = to_mapping(plan(data, attacks=SLOW, jobs=jobs))
    folder = tmp_path / "killed"
    process = start(folder, settings)
    wait_for_lines(folder, 6, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = len(open_run(folder).outcomes())
    with (folder / "records.jsonl").open("ab") as file:
        file.write(b'{"id": "cut sho')
    events: list[Event] = []
    resumed = run_audit(plan(data, attacks=SLOW), folder, on_event=events.append)
    (warned,) = [event for event in events if isinstance(event, Warned)]
    assert "was cut short" in warned.message
    undisturbed = run_audit(plan(data, attacks=SLOW), tmp_path / "undisturbed")
    assert content(resumed) == content(undisturbed)
    assert 6 <= before < len(resumed.outcomes())
    assert (folder / "records.jsonl").read_bytes().count(b"\n") == len(resumed.outcomes())
    assert resumed.summary["complete"] is True
    summaries = [
        {k: v for k, v in run.summary.items() if k != "not_attacked"}
        for run in (resumed, undisturbed)
    ]
    assert summaries[0] == summaries[1]


def test_ctrl_c_writes_a_summary_of_what_there_is(data: Path, tmp_path: Path) -> None:
    settings = to_mapping(plan(data, attacks=["audit_tiny:Slow(seconds=2.0)"], jobs=2))
    process = start(tmp_path, settings)
    wait_for_lines(tmp_path, 4, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors.decode()
    summary = open_run(tmp_path).summary
    assert summary["complete"] is False
    assert any("interrupted" in entry["reason"] for entry in summary["not_attacked"])
    assert not (tmp_path / ".images.safetensors").exists()


def test_a_failing_attack_sinks_nothing(data: Path, tmp_path: Path) -> None:
    run = run_audit(
        plan(data, attacks=["audit_tiny:Fails()", "Ridge()"], releases=["none"]), tmp_path
    )
    failed = [o for o in run.outcomes() if o.status is Status.FAILED]
    assert failed
    assert {o.trial.method for o in failed} == {f"audit_tiny:{Fails()!r}"}
    assert {o.reason for o in failed} == {"RuntimeError: no convergence"}
    assert run.summary["complete"] is True
    assert len(run.summary["failures"]) == len(failed)
    assert all(entry["attacks"] == 1 for entry in run.summary["leakage"])


def test_a_killed_worker_is_a_failed_trial_with_advice(data: Path, tmp_path: Path) -> None:
    cut = preview(plan(data)).cuts[0]
    run = run_audit(
        plan(
            data,
            attacks=["audit_tiny:Dies()", "Ridge()"],
            releases=["none"],
            cuts=[cut],
            jobs=1,
        ),
        tmp_path,
    )
    (failed,) = [o for o in run.outcomes() if o.status is Status.FAILED]
    assert failed.reason.startswith("WorkerLost")
    assert "SIGKILL" in failed.reason
    assert "fewer jobs" in failed.reason
    assert any(o.trial.method == "Ridge(samples=4000)" for o in run.outcomes())


def test_a_model_that_changes_is_refused_by_workers(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="other weights each time"):
        run_audit(plan(data, model={"name": "audit_tiny:unstable"}, jobs=1), tmp_path)


def test_chance_accuracy_stops_before_any_attack(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="normalisation or class order"):
        run_audit(plan(data, model={"name": "audit_tiny:untrained"}), tmp_path)
    assert open_run(tmp_path).outcomes() == []


def test_another_model_needs_another_folder(data: Path, whole: Run) -> None:
    with pytest.raises(BadPlan, match="choose another folder"):
        run_audit(plan(data, model={"name": "audit_tiny:untrained"}), whole.path)
    with pytest.raises(BadPlan, match="choose another folder"):
        run_audit(plan(data, threat={"knows_label": False}), whole.path)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"attacks": ["Rigde()"]}, UnknownName, "did you mean Ridge"),
        ({"releases": ["gausian(sigma=1)"]}, UnknownName, "did you mean gaussian"),
        ({"cuts": ["nowhere"]}, UnknownName, "unknown cut 'nowhere'"),
        ({"device": "toaster"}, BadPlan, "device 'toaster'"),
    ],
)
def test_unknown_names_are_refused_before_anything_runs(
    data: Path, tmp_path: Path, change: dict[str, object], error: type, message: str
) -> None:
    with pytest.raises(error) as caught:
        run_audit(plan(data, **change), tmp_path / "run")
    assert message in str(caught.value)


def test_the_deadline_leaves_trials_with_reasons(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from splitveil.audit import plan as plans

    tight = replace(plans.BUDGETS["3m"], seconds=0.0)
    monkeypatch.setitem(plans.BUDGETS, "3m", tight)
    run = run_audit(plan(data), tmp_path)
    assert run.summary["complete"] is True
    assert run.summary["leakage"] == []
    assert all("no time" in entry["reason"] for entry in run.summary["not_attacked"])
    assert "nothing can be said" in run.summary["verdict"]
    monkeypatch.undo()
    assert run_audit(plan(data), tmp_path).summary["leakage"]


def test_unlabelled_images_are_measured_against_the_mean_image(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, _ = audit_tiny.images()
    path = tmp_path / "bare.npz"
    np.savez(path, x=x)
    run = run_audit(plan(path, attacks=["Ridge()"]), tmp_path / "run")
    assert run.manifest["threat"]["knows_label"] is False
    (entry,) = [e for e in run.summary["leakage"] if e["release"] == "Identity()"][:1]
    assert any("mean image" in text for text in entry["quantity"]["assumptions"])
    assert "agreement" in run.summary["utility"]
