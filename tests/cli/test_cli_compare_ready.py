"""What is hardened already, and audits that harden first: the same comparison by other doors."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitveil.cli import BAD_INPUT, DONE, run
from splitveil.report.comparison import Comparison, read_comparison, stated_table

MODULE = """
import torch
from safetensors.torch import load_file
from torch import nn

from splitveil.release import GaussianNoise


def net(classes=3):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


def halves():
    network = net()
    network.load_state_dict(load_file("hardened/weights.safetensors"))
    return network[:3], network[3:]


def noisy():
    return (*halves(), GaussianNoise(sigma=2.0))


def other_shape():
    return net()[:2], net()[3:]


def other_classes():
    return net(5)[:3], net(5)[3:]


class Shaky(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)


def shaky():
    return nn.Sequential(net()[:3], Shaky()), net()[3:]


def one():
    return net()


def colour():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(2)), net()[3:]


def broken():
    raise RuntimeError("no weights here")
"""
DEFENCE = "nopeek(1)"
NARROW = "bottleneck(2)+gaussian-dp(epsilon=300)"
TRAINING = ["--epochs", "3", "--batch", "32", "--learning-rate", "0.01"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ready")
    (folder / "ready_factory.py").write_text(MODULE)
    draw = np.random.default_rng(0)
    y = np.arange(900) % 3
    templates = draw.uniform(0, 200, (3, 8, 8))
    x = np.clip(templates[y] + draw.normal(0, 50, (900, 8, 8)), 0, 255).astype(np.uint8)
    np.savez(folder / "train.npz", x=x[:500], y=y[:500])
    np.savez(folder / "attacked.npz", x=x[500:], y=y[500:])
    return folder


@pytest.fixture(autouse=True)
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", [str(place), *sys.path])


def words(*more: str, out: str) -> list[str]:
    given = ["compare", "ready_factory:net", "--training-data", "train.npz", "--cut", "2"]
    return [*given, "--data", "attacked.npz", "--attack", "Ridge()", "--out", out, *more]


@pytest.fixture(scope="module")
def compared(place: Path) -> dict[str, Any]:
    """The same network four times: from a folder, as halves, trained here, and with a release."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "path", [str(place), *sys.path])
        made = ["harden", "ready_factory:net", "--data", "train.npz", "--cut", "2", "--out"]
        assert run([*made, "hardened", "--defence", DEFENCE, *TRAINING]) == DONE
        assert run([*made, "narrow", "--defence", NARROW, *TRAINING]) == DONE
        asked = [part for name in ("halves", "noisy") for part in _from(f"ready_factory:{name}")]
        asked += [*_from("hardened"), "--defence", DEFENCE, "--defence", "noise(0.2..4)"]
        asked += [*_from("narrow"), "--defence", NARROW]
        asked += ["--drop", "0", "--trainings", "2", *TRAINING]
        assert run(words(*asked, out="found")) == DONE
    found: dict[str, Any] = json.loads((place / "found" / "compare.json").read_text())
    return found


def _from(source: str) -> list[str]:
    return ["--hardened", source]


def _point(found: dict[str, Any], defence: str) -> dict[str, Any]:
    (one,) = [s for s in found["series"] if s["defence"] == defence]
    assert one["kind"] == "point"
    assert one["area"] is None
    (point,) = one["points"]
    return dict(point)


def test_what_a_hardening_stated_of_its_release_is_kept_and_shown(
    compared: dict[str, Any], place: Path
) -> None:
    for door in (NARROW, "narrow"):
        (statement,) = _point(compared, door)["statements"]
        assert statement["component"].startswith("gaussian-dp(epsilon=300")
        assert statement["quantity"]["value"] == 300
        assert statement["quantity"]["kind"] == "theorem"
    assert _point(compared, DEFENCE)["statements"] == []
    table = stated_table(read_comparison(place / "found"))
    assert table is not None
    assert {row[0].text.partition(" at ")[0] for row in table.rows} == {NARROW, "narrow"}
    page = (place / "found" / "comparison.html").read_text()
    assert "Stated of releases" in page
    assert "over one send of an image" in page
    assert "Nothing here limits every attacker" not in page


def test_a_comparison_of_before_has_no_statements(compared: dict[str, Any]) -> None:
    old = json.loads(json.dumps(compared))
    for one in old["series"]:
        for point in one["points"]:
            del point["statements"]
    assert stated_table(Comparison(path=Path(), data=old)) is None


def test_one_network_by_three_doors_gives_the_same_numbers(compared: dict[str, Any]) -> None:
    trained = _point(compared, DEFENCE)
    for door in ("hardened", "ready_factory:halves"):
        point = _point(compared, door)
        assert point["drop"] == trained["drop"]
        assert point["validation_accuracy"] == trained["validation_accuracy"]
        assert point["accuracy"]["value"] == trained["accuracy"]["value"]
        assert point["mse"]["value"] == pytest.approx(trained["mse"]["value"], rel=1e-4)
        assert point["ratio"]["low"] < point["ratio"]["value"] < point["ratio"]["high"]
        for cost in ("bytes", "edge_flops", "edge_parameters"):
            assert point[cost] == trained[cost]


def test_structures_and_releases_come_back_from_a_folder(compared: dict[str, Any]) -> None:
    stored, trained = _point(compared, "narrow"), _point(compared, NARROW)
    # the same trials of the same network: the same draws
    for number in ("mse", "accuracy", "bytes", "edge_flops"):
        assert stored[number] == trained[number]


def test_a_release_that_comes_with_the_halves_stands_between_them(compared: dict[str, Any]) -> None:
    noisy, clear = (_point(compared, f"ready_factory:{name}") for name in ("noisy", "halves"))
    assert noisy["mse"]["low"] > clear["mse"]["value"]
    assert noisy["drop"] > clear["drop"]


def test_ranges_are_tuned_to_the_drops_that_single_strengths_have(compared: dict[str, Any]) -> None:
    (tuned,) = [s for s in compared["series"] if s["kind"] == "tuned"]
    (plain,) = [s for s in compared["series"] if s["kind"] == "none"]
    own = _point(compared, "ready_factory:noisy")
    assert own["drop"] in [point["drop"] for point in tuned["points"]]
    assert tuned["name"] in own["ahead"]
    assert plain["name"] in own["ahead"]
    base = plain["points"][0]["validation_accuracy"]["value"]
    for point in tuned["points"]:
        assert point["validation_accuracy"]["value"] >= base - point["drop"] / 100 - 1e-9


def test_the_page_shows_what_stands_alone(place: Path, compared: dict[str, Any]) -> None:
    page = (place / "found" / "comparison.html").read_text()
    assert "of one strength" in page
    assert f"hardened at {_name(compared, 'hardened')}" in page


def _name(found: dict[str, Any], defence: str) -> str:
    return str(next(s["cut"] for s in found["series"] if s["defence"] == defence))


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("ready_factory:other_shape", "cannot take (4, 8, 8)"),
        ("ready_factory:other_classes", "(5,)"),
        ("ready_factory:shaky", "otherwise each time"),
        ("ready_factory:one", "(head, tail)"),
        ("ready_factory:colour", "fails on images (1, 8, 8)"),
        ("ready_factory:broken", "no weights here"),
        ("ready_factory:halve", "halves"),
        ("nowhere", "trace.json"),
    ],
)
def test_bad_halves_get_one_line_before_anything_is_trained(
    source: str, hint: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words("--hardened", source, out="bad")) == BAD_INPUT
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert hint in lines[0]
    assert not (place / "bad" / "arms").exists()


def _audit(*more: str) -> list[str]:
    given = ["audit", "ready_factory:net", "--data", "attacked.npz", "--cut", "2"]
    return [*given, "--training-data", "train.npz", *more]


def test_an_audit_at_equal_utility_asks_for_what_compare_asks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []

    def stop(model: Any, images: Any, splits: Any, plan: Any, **settings: Any) -> None:
        shared = (settings["schedule"], settings["threat"], settings["device"])
        asked.append((model.digest, images.digest, splits.digest, plan, shared))
        raise KeyboardInterrupt

    monkeypatch.setattr("splitveil.audit.compare.compare", stop)
    ranges = ["--defence", "noise(0.2..4)", "--defence", "nopeek(0.3..30)"]
    run(_audit(*ranges, "--equal-utility", "--attack", "Ridge()"))
    run(words(*ranges, out="same"))
    one, other = asked
    assert one == other


def test_an_audit_of_one_strength_stands_beside_the_undefended(place: Path) -> None:
    asked = ["--defence", "noise(1)", "--attack", "Ridge()", "--out", "audited"]
    assert run(_audit(*asked)) == DONE
    found = json.loads((place / "audited" / "compare.json").read_text())
    assert [one["kind"] for one in found["series"]] == ["none", "point"]
    assert found["trainings"] == 2
    assert (place / "audited" / "comparison.html").is_file()


@pytest.mark.parametrize(
    ("more", "hint"),
    [
        (["--defence", "noise(0.2..4)"], "--equal-utility"),
        (["--defence", "noise(1)", "--equal-utility"], "nothing to tune"),
        (["--equal-utility"], "nothing to tune"),
        (["--defence", "noise(1)", "--budget", "3m"], "--budget"),
        (["--defence", "noise(1)", "--release", "none"], "--release"),
    ],
)
def test_audits_of_defences_that_make_no_sense_get_one_line(
    more: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(_audit(*more)) == BAD_INPUT
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert hint in lines[0]
