"""splitveil compare: defences tuned to the same drops of accuracy, attacked and drawn."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitveil.audit.compare import ComparisonPlan, compare
from splitveil.audit.plan import AuditPlan, DataSettings, ModelSettings
from splitveil.audit.subject import load_model_and_data
from splitveil.cli import BAD_INPUT, DONE, run
from splitveil.data.training import load_training
from splitveil.errors import BadPlan
from splitveil.quantities import Quantity
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
