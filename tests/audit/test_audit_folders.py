"""A run's folder holds all that any audit of the same subject found, and no other subject's."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from audit_tiny import plan, write_images

from splitveil.audit.manifest import all_cuts, joined
from splitveil.audit.plan import default_folder, load_plan
from splitveil.audit.run import preview, run_audit
from splitveil.audit.settings import to_mapping
from splitveil.audit.store import Run, open_run
from splitveil.select import read_candidates, read_records

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data"))


def cuts_of(run: Run) -> list[str]:
    return [entry["cut"]["name"] for entry in run.manifest["cuts"]]


def test_a_smaller_audit_takes_nothing_from_a_larger_one(data: Path, tmp_path: Path) -> None:
    few = {"attacks": ["Ridge()"], "releases": ["none"]}
    whole = run_audit(plan(data, **few), tmp_path)
    names, started = cuts_of(whole), whole.manifest["started"]
    seen = {one.cut for one in read_candidates(read_records(whole))}
    assert len(names) >= 3
    one = run_audit(
        plan(data, cuts=[names[1]], attacks=["NearestAuxiliary()"], releases=["none"]), tmp_path
    )
    assert cuts_of(one) == names
    assert one.manifest["started"] == started
    assert one.settings.get("cuts", []) == []
    assert {entry["cut"] for entry in one.summary["leakage"]} == seen
    assert {c.cut for c in read_candidates(read_records(one))} == seen
    depths = [entry["cut"]["depth"] for entry in one.manifest["cuts"]]
    assert depths == sorted(depths)


def test_two_small_audits_stand_side_by_side(data: Path, tmp_path: Path) -> None:
    names = list(preview(plan(data)).cuts)
    few = {"attacks": ["Ridge()"], "releases": ["none"]}
    for name in (names[-1], names[0]):
        run_audit(plan(data, cuts=[name], **few), tmp_path)
    run = open_run(tmp_path)
    assert cuts_of(run) == [names[0], names[-1]]
    assert set(run.settings["cuts"]) == {names[0], names[-1]}
    assert len(run.summary["leakage"]) == 2


def test_what_a_larger_audit_left_out_is_still_said(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from splitveil.audit import plan as plans

    tight = replace(plans.BUDGETS["3m"], seconds=0.0)
    with monkeypatch.context() as patched:
        patched.setitem(plans.BUDGETS, "3m", tight)
        before = run_audit(plan(data, releases=["none"]), tmp_path)
    left = {(e["cut"], e["method"]) for e in before.summary["not_attacked"]}
    first = before.manifest["cuts"][0]["cut"]
    mine = {first["id"], "*", before.manifest["outputs"][0]["cut"]["id"]}
    now = run_audit(plan(data, cuts=[first["name"]], releases=["none"]), tmp_path)
    still = {(e["cut"], e["method"]) for e in now.summary["not_attacked"]}
    assert still
    assert still == {(cut, method) for cut, method in left if cut not in mine} | (
        still & {(cut, method) for cut, method in left if cut == "*"}
    )


def test_a_killed_smaller_audit_leaves_the_larger_one_whole(data: Path, tmp_path: Path) -> None:
    import json

    few: dict[str, Any] = {"attacks": ["Ridge()"], "releases": ["none"]}
    names = cuts_of(run_audit(plan(data, **few), tmp_path))
    slow = plan(data, cuts=[names[0]], attacks=["audit_tiny:Slow(seconds=60.0)"], releases=["none"])
    command = [sys.executable, str(HERE / "audit_tiny.py"), str(tmp_path)]
    process = subprocess.Popen(
        [*command, json.dumps(to_mapping(slow))], cwd=HERE, stderr=subprocess.PIPE
    )
    settings = tmp_path / "splitveil.toml"
    before, deadline = settings.stat().st_mtime_ns, time.monotonic() + 120
    while settings.stat().st_mtime_ns == before and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert cuts_of(open_run(tmp_path)) == names
    again = run_audit(plan(data, cuts=[names[0]], **few), tmp_path)
    assert cuts_of(again) == names
    assert len(again.summary["leakage"]) == len(names)


def test_cuts_of_two_plans_together() -> None:
    assert all_cuts([], ["a"]) == all_cuts(["a"], []) == ()
    assert all_cuts(["b", "a"], ["a", "c"]) == ("a", "c", "b")
    cost = {"cut": {"id": "x", "depth": 0.3}, "bytes": 1}
    now = {"started": "now", "plan": {"cuts": ["x"]}, "cuts": [cost]}
    assert joined(now, {}) == now
    old = {"started": "then", "plan": {"cuts": []}, "cuts": [{**cost, "bytes": 2}]}
    both = joined(now, old)
    assert both["started"] == "then"
    assert both["plan"]["cuts"] == []
    assert both["cuts"] == [cost]


def folder(**settings: Any) -> Path:
    return default_folder(load_plan(settings))


def test_sources_in_folders_of_equal_names_get_their_own_run() -> None:
    here, there = ({"source": f"{place}/images"} for place in ("first", "second"))
    assert folder(data=here) != folder(data=there)
    assert folder(data=here).name.startswith("vgg-images-")
    assert folder(data=here, budget="30m") == folder(data=here)
    assert folder(data={"source": "./first/images/"}) == folder(data=here)
    assert folder(data={"source": "a/x.npz"}) != folder(data={"source": "a/x.idx"})
    assert folder(data={"source": "photos"}).name == "vgg-photos"
    assert folder(model={"name": "a/net"}) != folder(model={"name": "b/net"})
