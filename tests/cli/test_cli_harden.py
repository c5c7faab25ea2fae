"""splitveil harden: from a command to weights that an audit takes."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from splitveil.cli import BAD_INPUT, DONE, run
from splitveil.models import load_model
from splitveil.models.weights import read_weights
from splitveil.report.vortex import read_trace
from splitveil.rng import Rng

FACTORY = """
import torch
from torch import nn


def net():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)
    )
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("harden")
    (folder / "harden_factory.py").write_text(FACTORY)
    draw = np.random.default_rng(0)
    y = np.arange(512) % 3
    templates = draw.uniform(0, 200, (3, 8, 8))
    x = np.clip(templates[y] + draw.normal(0, 40, (512, 8, 8)), 0, 255).astype(np.uint8)
    np.savez(folder / "train.npz", x=x[:400], y=y[:400])
    np.savez(folder / "audited.npz", x=x[400:], y=y[400:])
    return folder


@pytest.fixture(autouse=True)
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", [str(place), *sys.path])


def words(*more: str, labels: str = "smooth(0.3)") -> list[str]:
    given = ["harden", "harden_factory:net", "--data", "train.npz", "--labels", labels]
    return [*given, "--epochs", "3", "--batch", "32", "--mean", "0.3", "--std", "0.2", *more]


@pytest.fixture(scope="module")
def hardened(place: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "path", [str(place), *sys.path])
        assert run(words("--trace", "--out", "smooth")) == DONE
    return place / "smooth"


def test_it_writes_weights_trace_and_figure(hardened: Path) -> None:
    names = {"checkpoint.safetensors", "trace.json", "vortex.json", "vortex.svg"}
    assert {path.name for path in hardened.iterdir()} == names | {"weights.safetensors"}
    record = json.loads((hardened / "trace.json").read_text())
    assert record["labels"] == "smooth(0.3)"
    assert [state["number"] for state in record["states"]] == [0, 1, 2, 3]
    assert record["data"]["train"] == 320
    trace = read_trace(hardened)
    assert trace.cuts[-1]["name"] == "logits"
    assert (hardened / "vortex.svg").read_text().startswith("<svg")


def test_an_audit_takes_the_weights_with_their_normalisation(
    hardened: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = str(hardened / "weights.safetensors")
    loaded = load_model("harden_factory:net", weights=weights)
    assert (loaded.mean, loaded.std) == ((0.3,), (0.2,))
    command = ["audit", "harden_factory:net", "--weights", weights, "--data", "audited.npz"]
    command += ["--attack", "Ridge()", "--release", "none", "--jobs", "0", "--out", "run", "--json"]
    assert run(command) == DONE
    assert json.loads(capsys.readouterr().out)["complete"] is True


def test_the_same_command_trains_nothing_twice(
    hardened: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_weights(hardened / "weights.safetensors")
    assert run(words("--trace", "--out", "smooth", "--json")) == DONE
    printed = capsys.readouterr()
    assert "Epoch" not in printed.err
    after = read_weights(hardened / "weights.safetensors")
    assert all(torch.equal(after[name], value) for name, value in before.items())
    told = json.loads(printed.out)
    assert told["figure"] == "smooth/vortex.svg"
    assert told["epochs"] == 3


def test_runs_stand_beside_each_other(hardened: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--trace", "--beside", "smooth", "--out", "negative", "--scratch", "--patience", "0"]
    assert run(words(*more, labels="smooth(-0.05)")) == DONE
    printed = capsys.readouterr()
    assert "no minimum" in printed.out
    assert (
        "splitveil audit harden_factory:net --weights negative/weights.safetensors" in printed.out
    )
    drawn = Path("negative/vortex.svg").read_text()
    assert "smooth(0.3)" in drawn
    assert "smooth(-0.05)" in drawn
    assert json.loads(Path("negative/trace.json").read_text())["kept"] == 3


def test_without_a_trace_there_is_no_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words("--out", "plain", "--json", "--images", "60", labels="onehot")) == DONE
    assert json.loads(capsys.readouterr().out)["figure"] is None
    assert not Path("plain/vortex.svg").exists()


def test_a_defence_at_a_cut_is_audited_with_its_release(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--defence", "bottleneck(2)+noise(0.3)", "--cut", "2", "--out", "noisy", "--json"]
    assert run(words(*more, labels="onehot")) == DONE
    told = json.loads(capsys.readouterr().out)
    assert told["cut"].startswith("2.device")
    assert told["release"] == "noisy/release.safetensors"
    command = [*shlex.split(told["audit"])[1:], "--data", "audited.npz", "--attack", "Ridge()"]
    assert run([*command, "--jobs", "0", "--out", "noisy-run", "--json"]) == DONE
    assert json.loads(capsys.readouterr().out)["failures"] == 0
    attacked = [
        trial
        for line in Path("noisy-run/records.jsonl").read_text().splitlines()
        if (trial := json.loads(line)["trial"])["task"] == "attack"
    ]
    assert not [one for one in attacked if one["release"].startswith("Stored(file=")]
    assert [one for one in attacked if one["release"].startswith("Stored(digest=")]
    summary = json.loads(Path("noisy-run/summary.json").read_text())
    (found,) = summary["leakage"]
    assert found["release"].startswith("Stored(digest=")
    assert "behind Stored(digest=" in summary["verdict"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--labels", "smoth(0.3)"], "did you mean smooth"),
        (["--beside", "smooth"], "give --trace"),
        (["--trace", "--beside", "nowhere"], "no trace in"),
        (["--trace", "--cut", "nowhere"], "unknown cut 'nowhere'"),
        (["--cut", "2"], "--cut stands without a use"),
        (["--defence", "noise(0.3)"], "acts on what crosses a cut"),
        (["--defence", "noise(0.3)", "--cut", "nowhere"], "unknown cut 'nowhere'"),
        (["--epochs", "0"], "must be positive"),
        (["--out", "smooth", "--labels", "onehot"], "other settings"),
        (["--data", "nowhere.npz"], "does not exist"),
    ],
)
def test_bad_input_is_one_line(
    hardened: Path, more: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words("--out", "bad", *more)) == BAD_INPUT
    error = capsys.readouterr().err
    assert says in error
    assert error.startswith("Error: ")
    assert error.count("\n") == 1


def test_weights_that_name_their_normalisation_yield_to_what_is_given(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with Rng(0).as_global():
        state = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)
        ).state_dict()
    path = tmp_path / "w.safetensors"
    save_file(state, path, {"mean": "0.5", "std": "0.25"})
    assert load_model("harden_factory:net", weights=path).mean == (0.5,)
    assert load_model("harden_factory:net", weights=path, mean=(0.1,)).mean == (0.1,)
    x = torch.rand(2, 1, 8, 8, generator=Rng(0).torch())
    given = load_model("harden_factory:net", weights=path, mean=(0.5,), std=(0.25,))
    torch.testing.assert_close(
        load_model("harden_factory:net", weights=path).network(x), given.network(x)
    )
    save_file(state, path, {"mean": "grey", "std": "0.25"})
    from splitveil.errors import BadModel

    with pytest.raises(BadModel, match="grey"):
        load_model("harden_factory:net", weights=path)


def test_one_hardening_goes_on_from_another(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights of a hardened network as the source, and its device's half alone as an expert."""
    data = ["--images", "120", "--batch", "32", "--epochs", "1", "--data", "train.npz", "--json"]
    base = ["harden", "harden_factory:net", "--cut", "2", *data]

    def go(defence: str, out: str, *more: str) -> dict[str, Any]:
        assert run([*base, "--defence", defence, "--out", out, *more]) == DONE
        told: dict[str, Any] = json.loads(capsys.readouterr().out)
        return told

    go("bottleneck(2)", "one")
    cut = go("bottleneck(2)+adversary(1)", "expert", "--seed", "3")["cut"]
    assert go("expert(expert)+noise(0.1)", "transferred")["cut"] == cut
    load_model("harden_factory:net", weights="transferred/weights.safetensors")
    # what the source's weights needed is still said of what came of them
    weights = ["--weights", "one/weights.safetensors"]
    again = ["harden", "harden_factory:net", *data, *weights, "--labels", "smooth(0.1)"]
    assert run([*again, "--out", "two"]) == DONE
    capsys.readouterr()
    load_model("harden_factory:net", weights="two/weights.safetensors")
    for seed in ("1", "2"):
        go("fixed-noise(0.2)", f"shadows/{seed}", "--seed", seed, "--scratch")
    told = go("ensembler(shadows,chosen=1)+fixed-noise(0.2)", "ensembled")
    assert any("2 bodies" in note for note in told["notes"])
    loaded = load_model("harden_factory:net", weights="ensembled/weights.safetensors")
    assert "network.ensemble.selection" in loaded.network.state_dict()
