"""Bad input at the command line: one clear line, exit 2, no traceback unless it is asked for."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from splitveil.cli import BAD_INPUT, FAULT, run
from splitveil.models.reference import vgg

MODULE = """
import torch
from torch import nn


def fails():
    raise RuntimeError("the disk with the settings is gone")


def branches():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(32 * 32, 10)

        def forward(self, x):
            if float(x.sum()) > 3:
                return self.layer(x.flatten(1))
            return self.layer(x.flatten(1)) * 2

    return Branching()


def small():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 30 * 30, 10))


def not_a_model():
    return 3


def bright():
    return torch.full((40, 1, 32, 32), 7.0), torch.arange(40) % 10
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def empty_folder() -> list[str]:
    Path("empty").mkdir()
    return ["audit", "--data", "empty"]


def broken_picture() -> list[str]:
    Path("photos/cat").mkdir(parents=True)
    for index in range(40):
        Image.new("L", (32, 32), index).save(f"photos/cat/{index}.png")
    Path("photos/cat/zz.png").write_bytes(b"not a picture")
    return ["audit", "--data", "photos"]


def mixed_sizes() -> list[str]:
    Path("photos/cat").mkdir(parents=True)
    for index in range(40):
        Image.new("L", (32 + index % 2, 32), 6 * index).save(f"photos/cat/{index}.png")
    return ["audit", "mine:small", "--data", "photos"]


def pickled_model() -> list[str]:
    torch.save(vgg(), "model.pt")
    return ["cuts", "vgg", "--weights", "model.pt"]


def weights_of_another() -> list[str]:
    save_file({"other.weight": torch.zeros(3)}, "other.safetensors")
    return ["cuts", "vgg", "--weights", "other.safetensors"]


def nan_weights() -> list[str]:
    state = {k: v.contiguous() for k, v in vgg().state_dict().items()}
    state["conv1.weight"][0] = float("nan")
    save_file(state, "nan.safetensors")
    return ["cuts", "vgg", "--weights", "nan.safetensors"]


def unknown_setting() -> list[str]:
    Path("splitveil.toml").write_text('[modle]\nname = "vgg"\n')
    return ["audit", "splitveil.toml"]


def not_toml() -> list[str]:
    Path("splitveil.toml").write_text("model = = 3")
    return ["audit", "splitveil.toml"]


def settings_exist() -> list[str]:
    Path("splitveil.toml").write_text("")
    return ["init"]


def folder_of_other_things() -> list[str]:
    Path("out").mkdir()
    Path("out/thesis.tex").write_text("precious")
    return ["audit", "--out", "out", "--attack", "MeanImage()", "--jobs", "0"]


def folder_below_a_file() -> list[str]:
    Path("file").write_text("precious")
    return ["audit", "--out", "file/run", "--attack", "MeanImage()", "--jobs", "0"]


def data_of_nan() -> list[str]:
    np.savez("nan.npz", x=np.full((40, 32, 32), np.nan, np.float32), y=np.arange(40) % 10)
    return ["audit", "--data", "nan.npz"]


CASES: dict[str, tuple[list[str] | Callable[[], list[str]], str]] = {
    "no such command": (["audti"], "audit"),
    "no such option": (["audit", "--bugdet", "3m"], "--bugdet"),
    "option without its value": (["audit", "--seed"], "--seed"),
    "seed is no number": (["audit", "--seed", "many"], "integer"),
    "unknown model": (["cuts", "vg"], "did you mean vgg"),
    "unknown model of an audit": (["audit", "resnt"], "did you mean resnet"),
    "module is missing": (["cuts", "nowhere:build"], "nowhere"),
    "name is not in the module": (["cuts", "mine:smal"], "did you mean small"),
    "factory fails": (["cuts", "mine:fails"], "the disk with the settings is gone"),
    "factory gives no model": (["cuts", "mine:not_a_model"], "nn.Module"),
    "input is not known": (["cuts", "mine:small"], "--channels"),
    "input is negative": (["cuts", "mine:small", "--channels", "1", "--size", "-3"], "positive"),
    "input does not fit": (["cuts", "mine:small", "--channels", "1", "--size", "9"], "9"),
    "model cannot be traced": (["cuts", "mine:branches", "--channels", "1", "--size", "32"], "cut"),
    "weights are missing": (["cuts", "vgg", "--weights", "no.safetensors"], "no.safetensors"),
    "weights are pickled": (pickled_model, "safetensors"),
    "weights do not fit": (weights_of_another, "other.safetensors"),
    "weights are NaN": (nan_weights, "NaN"),
    "mean is no number": (["cuts", "vgg", "--mean", "half"], "--mean"),
    "three means for one channel": (["cuts", "vgg", "--mean", "1,2,3"], "channel"),
    "data are missing": (["audit", "--data", "photos/"], "photos"),
    "data are empty": (empty_folder, "empty"),
    "data name is unknown": (["audit", "--data", "fashion-mist"], "fashion-mnist"),
    "picture is broken": (broken_picture, "zz.png"),
    "pictures differ in size": (mixed_sizes, "--size"),
    "pixels are out of range": (["audit", "mine:small", "--data", "mine:bright"], "[0, 1]"),
    "pixels are NaN": (data_of_nan, "NaN"),
    "unknown cut": (["audit", "--cut", "conv99", "--jobs", "0"], "conv"),
    "unknown attack": (["audit", "--attack", "Rigde()", "--jobs", "0"], "did you mean Ridge"),
    "unknown setting of an attack": (["audit", "--attack", "Ridge(sampels=3)"], "sampels"),
    "unknown release": (["audit", "--release", "gausian(sigma=1)"], "gaussian"),
    "unknown budget": (["audit", "--budget", "4m"], "3m"),
    "negative jobs": (["audit", "--jobs", "-1"], "jobs"),
    "no such device": (["audit", "--device", "abacus"], "abacus"),
    "one class name": (["audit", "--classes", "cat"], "--classes"),
    "settings are missing": (["audit", "nowhere.toml"], "nowhere.toml"),
    "settings are not TOML": (not_toml, "not TOML"),
    "settings have an unknown table": (unknown_setting, "did you mean model"),
    "settings exist": (settings_exist, "--force"),
    "run is missing": (["report", "nowhere"], "nowhere"),
    "folder cannot be made": (folder_below_a_file, "file/run"),
    "folder holds other things": (folder_of_other_things, "other"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_exit_2(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    made, fragment = CASES[case]
    code = run(made if isinstance(made, list) else made())
    printed = capsys.readouterr()
    assert code == BAD_INPUT, printed.err
    lines = printed.err.strip().splitlines()
    assert [line for line in lines if line.startswith("Error:")] == [lines[-1]]
    assert fragment in lines[-1]
    assert len(lines[-1]) < 500
    assert "Traceback" not in printed.err


def test_nothing_that_was_there_is_lost(folder: Path) -> None:
    assert run(folder_of_other_things()) == BAD_INPUT
    assert run(settings_exist()) == BAD_INPUT
    assert [path.name for path in (folder / "out").iterdir()] == ["thesis.tex"]
    assert (folder / "splitveil.toml").read_text() == ""


def test_a_traceback_comes_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cuts", "vg", "--traceback"]) == BAD_INPUT
    printed = capsys.readouterr().err
    assert "Traceback (most recent call last)" in printed
    assert printed.strip().splitlines()[-1].startswith("Error: unknown model")


def test_a_fault_of_ours_is_one_line_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object, **named: object) -> None:
        raise ZeroDivisionError("by\nnothing")

    monkeypatch.setattr("splitveil.models.load_model", fail)
    assert run(["cuts", "vgg"]) == FAULT
    printed = capsys.readouterr().err
    assert printed.startswith("Error: ZeroDivisionError: by nothing")
    assert "--traceback" in printed
    assert len(printed.strip().splitlines()) == 1


def test_a_run_whose_manifest_is_damaged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "manifest.json").write_text(json.dumps({})[:1])
    assert run(["report", "run"]) == BAD_INPUT
    assert "manifest.json" in capsys.readouterr().err
