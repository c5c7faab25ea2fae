"""splitveil compare: defences tuned to the same drops of accuracy, attacked and drawn."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitveil.audit.compare import ComparisonPlan, compare
from splitveil.audit.compare.clock import Clock
from splitveil.audit.plan import AuditPlan, DataSettings, ModelSettings
from splitveil.audit.subject import load_model_and_data
from splitveil.cli import BAD_INPUT, DONE, run
from splitveil.data.training import load_training
from splitveil.errors import BadPlan
from splitveil.quantities import Kind, Quantity
from splitveil.report.headtohead import head_table
from splitveil.rng import Rng
from splitveil.training import Schedule

FACTORY = """
from torch import nn


def net():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)
    )
"""
RANGE = "noise(0.2..4)"
WEAK_AT_BEST = "noise(5..8)"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    (folder / "compare_factory.py").write_text(FACTORY)
    draw = np.random.default_rng(0)
    y = np.arange(1100) % 3
    templates = draw.uniform(0, 200, (3, 8, 8))
    x = np.clip(templates[y] + draw.normal(0, 50, (1100, 8, 8)), 0, 255).astype(np.uint8)
    np.savez(folder / "train.npz", x=x[:700], y=y[:700])
    np.savez(folder / "attacked.npz", x=x[700:], y=y[700:])
    return folder


@pytest.fixture(autouse=True)
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", [str(place), *sys.path])


def words(*more: str) -> list[str]:
    given = ["compare", "compare_factory:net", "--training-data", "train.npz"]
    given += ["--data", "attacked.npz", "--attack", "Ridge()", "--epochs", "4", "--batch", "32"]
    return [*given, "--learning-rate", "0.02", "--trainings", "4", *more]


@pytest.fixture(scope="module")
def compared(place: Path) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "path", [str(place), *sys.path])
        asked = ["--cut", "1", "--cut", "2", "--drop", "0", "--drop", "8", "--out", "found"]
        assert run(words(*asked, "--defence", RANGE, "--defence", WEAK_AT_BEST)) == DONE
    found: dict[str, Any] = json.loads((place / "found" / "compare.json").read_text())
    return found


def _series(found: dict[str, Any], defence: str, cut: str) -> dict[str, Any]:
    (one,) = [s for s in found["series"] if (s["defence"], s["cut"]) == (defence, cut)]
    return dict(one)


def test_every_defence_stands_at_every_cut_and_drop(compared: dict[str, Any]) -> None:
    assert len(compared["series"]) == 6
    for one in compared["series"]:
        assert [p["drop"] for p in one["points"]] == (
            [0.0] if one["defence"] == "onehot" else [0, 8]
        )


def test_what_is_chosen_keeps_the_accuracy_on_validation_images(compared: dict[str, Any]) -> None:
    for cut in ("1", "2"):
        base = _series(compared, "onehot", cut)["points"][0]["validation_accuracy"]["value"]
        for point in _series(compared, RANGE, cut)["points"]:
            assert point["validation_accuracy"]["value"] >= base - point["drop"] / 100 - 1e-12


def test_the_undefended_first_cut_is_the_unit(compared: dict[str, Any]) -> None:
    point = _series(compared, "onehot", "1")["points"][0]
    assert point["ratio"]["value"] == 0
    assert point["accuracy_lost"] == 0


def test_more_accuracy_given_up_buys_no_less_error(compared: dict[str, Any]) -> None:
    few, many = _series(compared, RANGE, "1")["points"]
    assert few["met"]
    assert many["met"]
    assert many["mse"]["value"] >= few["mse"]["value"]
    assert Quantity.from_json(many["ratio"]).low > 0


def test_a_defence_that_is_never_weak_enough_stands_undefended(compared: dict[str, Any]) -> None:
    one = _series(compared, WEAK_AT_BEST, "1")
    assert [point["met"] for point in one["points"]] == [False, False]
    assert {point["defence"] for point in one["points"]} == {"onehot"}
    assert one["area"]["value"] == 0


def test_the_page_names_all_and_calls_nothing_a_bound(
    place: Path, compared: dict[str, Any]
) -> None:
    page = (place / "found" / "comparison.html").read_text()
    for one in compared["series"]:
        assert one["name"] in page
    assert "none is weak enough" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    assert {"comparison.svg", "comparison.csv", "comparison.json"} <= {
        path.name for path in (place / "found").iterdir()
    }


def test_leads_at_a_drop_are_paired_and_of_one_sign(compared: dict[str, Any]) -> None:
    by_name = {one["name"]: one for one in compared["series"]}
    for one in compared["series"]:
        for point in one["points"]:
            assert set(point["ahead"]) == set(by_name) - {one["name"]}
            for other, lead in point["ahead"].items():
                there = [p for p in by_name[other]["points"] if p["drop"] == point["drop"]]
                for back in there:
                    assert lead["value"] == pytest.approx(-back["ahead"][one["name"]]["value"])
                    ratio = math.log(point["mse"]["value"] / back["mse"]["value"])
                    assert lead["value"] == pytest.approx(ratio, abs=1e-5)


def test_cuts_stand_alone_and_with_their_best_defence(
    place: Path, compared: dict[str, Any]
) -> None:
    table = head_table(compared)
    assert table is not None
    names = [(row[0].text, row[1].text) for row in table.rows]
    for drop in ("0", "8"):
        assert (drop, "no defence at 1") in names
        assert (drop, "no defence at 2") in names
    best = max(
        (p for p in _series(compared, RANGE, "2")["points"] if p["drop"] == 8),
        key=lambda p: p["validation_mse"]["value"],
    )
    assert ("8", f"{best['defence']} at 2") in names
    assert "Cut against defence" in (place / "found" / "comparison.html").read_text()
    alone = [one for one in compared["series"] if one["cut"] == "1"]
    assert head_table({**compared, "series": alone}) is None


def test_who_is_dominated_is_named() -> None:
    def one(name: str, kind: str, mse: float, sent: int, flops: int) -> dict[str, Any]:
        ratio = Quantity(value=0.0, low=-0.1, high=0.1, unit="log ratio", kind=Kind.MEASURED, n=9)
        share = replace(ratio, unit="share")
        point = {
            "drop": 0.0,
            "met": True,
            "defence": name,
            "accuracy": share.to_json(),
            "ratio": ratio.to_json(),
            "ahead": {},
            "mse": {"value": mse},
            "validation_mse": {"value": mse},
            "bytes": sent,
            "edge_flops": flops,
        }
        return {"name": name, "kind": kind, "cut": name[-1], "points": [point]}

    series = [
        one("none at a", "none", 1.0, 100, 10),
        one("none at b", "none", 2.0, 50, 10),
        one("more at b", "tuned", 2.0, 40, 10),
        one("dear at a", "tuned", 3.0, 100, 20),
    ]
    table = head_table({"series": series, "plan": {"drops": [0.0]}, "data": {"test": 9}})
    assert table is not None
    told = {row[1].text.partition(" at ")[0]: row[-1].text for row in table.rows}
    assert [row[-1].text for row in table.rows] == ["more at b", "–", "more at b", "–"]  # noqa: RUF001
    assert set(told) == {"none", "dear", "more"}


def test_costs_of_several_runs_add_up(tmp_path: Path) -> None:
    (tmp_path / "cpu_seconds").write_text("100.0\n")
    first = Clock(tmp_path).spent()
    assert first >= 100
    assert Clock(tmp_path).earlier == pytest.approx(first, abs=0.1)


def test_a_stopped_comparison_goes_on_to_the_same_numbers(
    place: Path, compared: dict[str, Any]
) -> None:
    plan = AuditPlan(
        model=ModelSettings(name="compare_factory:net"), data=DataSettings(source="attacked.npz")
    )
    model, splits = load_model_and_data(plan)
    images = load_training("train.npz", rng=Rng(0).child("data"))
    asked = ComparisonPlan(
        defences=(RANGE,), cuts=("1",), drops=(0.0, 8.0), trainings=3, attacks=("Ridge()",)
    )
    schedule = Schedule(epochs=2, batch=32, learning_rate=0.02)
    said: list[str] = []

    def stop(text: str) -> None:
        said.append(text)
        if len(said) in (3, 6):
            raise KeyboardInterrupt

    def go(folder: str, say: Any = said.append) -> dict[str, Any]:
        found = compare(
            model, images, splits, asked, schedule=schedule, folder=place / folder, say=say
        )
        for one in found["series"]:
            for point in one["points"]:
                del point["edge_seconds"]  # measured anew
        return found

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            go("stopped", stop)
    assert json.dumps(go("stopped")["series"]) == json.dumps(go("whole")["series"])


@pytest.mark.parametrize(
    ("more", "hint"),
    [
        (["--cut", "1"], "at least one defence"),
        (["--defence", RANGE], "one cut"),
        (["--defence", "noise(0..2)", "--cut", "1"], "end at 0"),
        (["--defence", RANGE, "--cut", "1", "--drop", "-1"], "drops"),
        (["--defence", RANGE, "--cut", "nowhere", "--out", "bad1"], "nowhere"),
        (["--defence", "nosie(0.1..2)", "--cut", "1", "--out", "bad2"], "nosie"),
    ],
)
def test_bad_input_gets_one_line(
    more: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(*more)) == BAD_INPUT
    lines = capsys.readouterr().err.strip().splitlines()
    assert hint in lines[-1]


def test_a_dry_run_counts_and_trains_nothing(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--cut", "1", "--defence", RANGE, "--defence", "freeze:0", "--out", "dry", "--dry-run"]
    assert run(words(*asked, "--json")) == DONE
    assert json.loads(capsys.readouterr().out)["most_trainings"] == 6
    assert not (place / "dry").exists()


def test_plans_that_compare_nothing_are_refused() -> None:
    with pytest.raises(BadPlan, match="named twice"):
        ComparisonPlan(defences=(RANGE, RANGE), cuts=("1",))
    with pytest.raises(BadPlan, match="trainings"):
        ComparisonPlan(defences=(RANGE,), cuts=("1",), trainings=0)
