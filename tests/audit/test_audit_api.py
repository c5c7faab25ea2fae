import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch
from audit_tiny import Slow, net, write_images

import splitveil as sv
from splitveil.attacks import Ridge
from splitveil.audit.api import Results, audit
from splitveil.audit.plan import load_plan
from splitveil.data import load_data
from splitveil.errors import BadPlan
from splitveil.release import GaussianNoise


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("api")
    splits = load_data(str(write_images(folder)))
    model = net().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = audit(
        model,
        splits,
        attacks=[Ridge(), Slow(seconds=0.0)],
        releases=[GaussianNoise(sigma=4.0)],
        out=folder / "run",
    )
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    return found


def test_objects_are_audited_as_they_are(results: Results) -> None:
    assert results.run.manifest["model"]["name"] == "object:Sequential"
    methods = {row["method"] for row in results.rows()}
    assert {"Ridge(samples=4000)", "audit_tiny:Slow(seconds=0.0)"} <= methods
    assert {row["status"] for row in results.rows()} == {"done"}
    assert str(results) == results.verdict == results.run.summary["verdict"]


def test_rows_hold_each_number_with_its_interval(results: Results) -> None:
    row = next(row for row in results.rows() if row["method"].startswith("Ridge"))
    assert row["mse_low"] <= row["mse"] <= row["mse_high"]
    assert 0 < row["depth"] <= 1


def test_a_frame_needs_pandas_and_says_so(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(BadPlan, match="pip install pandas"):
        results.to_frame()
    stand_in = ModuleType("pandas")
    stand_in.DataFrame = list  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", stand_in)
    assert results.to_frame() == results.rows()


def test_the_report_is_one_file_without_the_users_pictures(
    results: Results, tmp_path: Path
) -> None:
    page = results.report(tmp_path / "deep" / "report.html")
    assert page == tmp_path / "deep" / "report.html"
    assert "</html>" in page.read_text(encoding="utf-8")


def test_the_room_is_its_verb(tmp_path: Path) -> None:
    room = import_module("splitveil.audit")
    assert callable(room)
    assert callable(sv.audit)
    assert room.audit is audit
    with pytest.raises(AttributeError, match="no attribute 'adit'"):
        _ = room.adit
    with pytest.raises(sv.AuditError, match="unknown cut"):
        sv.audit(
            "audit_tiny:net", str(write_images(tmp_path)), cuts=["nowhere"], out=tmp_path / "r"
        )


def test_settings_of_an_object_say_that_they_cannot_repeat_it(
    results: Results, tmp_path: Path
) -> None:
    stored = load_plan(results.run.path / "splitveil.toml")
    with pytest.raises(BadPlan, match=r"Python object \(Sequential\): pass it"):
        sv.run_audit(stored, tmp_path / "again")
