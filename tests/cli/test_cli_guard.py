"""splitveil guard: alarms, silence, tolerances, states, and what is refused in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from splitveil.cli import run
from splitveil.rng import Rng

CLASSES = 3


class Told(nn.Module):
    """Scores of three brightness classes, with cells of the image beside them times `leak`."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.leak = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 1, 8, 8) to (n, 3)."""
        middle = torch.tensor([0.25, 0.5, 0.75])
        light = x.mean((1, 2, 3), keepdim=True)[:, :, 0, 0]
        # edges of the cells of a thumbnail, so that noise is no part of what is told
        cells = nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)[:, :CLASSES]
        blur = (x[:, 0, 0, :CLASSES] * 997).frac()
        scores: Tensor = -40 * (light - middle).abs() + 0.3 * blur + self.leak * (cells - light)
        return scores


class InTwo(nn.Module):
    """Eight numbers of a picture's cells cross; the answers tell how bright it is and no more."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.cells = nn.AdaptiveAvgPool2d(4)
        self.flat = nn.Flatten()
        self.code = nn.Linear(16, 8, bias=False)
        self.top = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 1, 8, 8) to (n, 2)."""
        scores: Tensor = self.top(self.code(self.flat(self.cells(x))))
        return scores


@pytest.fixture
def halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    g = Rng(1).torch()
    cells = torch.randn(400, 1, 4, 4, generator=g).repeat_interleave(2, 2).repeat_interleave(2, 3)
    np.savez(tmp_path / "cells.npz", x=(0.5 + 0.1 * cells[:, 0]).clamp(0, 1).numpy())
    brightness = torch.ones(8, 1) @ torch.ones(1, 16) / 16
    codes = {"honest": brightness, "also": 2 * brightness, "vicious": torch.eye(16)[:8]}
    for name, code in codes.items():
        state = InTwo().state_dict()
        state["code.weight"] = code
        # behind the vicious cut too, the answer is one number's
        state["top.weight"] = torch.tensor([[1.0], [-1.0]]) @ torch.eye(8)[:1]
        state["top.bias"] = torch.tensor([-0.5, 0.5])
        held = {key: value.contiguous() for key, value in state.items()}
        save_file(held, tmp_path / f"{name}.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return tmp_path


def test_what_crosses_a_cut_is_watched_against_honest_networks_cut_there(
    halves: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["guard", "test_cli_guard:InTwo", "--data", "cells.npz"]
    honest = ["--honest", "honest.safetensors", "--honest", "also.safetensors"]
    assert run([*words, *honest, "--cut", "code", "--write-null", "null.json"]) == 0
    assert "--cut code --null null.json" in capsys.readouterr().out
    stored = json.loads((halves / "null.json").read_text())
    assert (stored["released"], stored["cut"]) == ("features", "code")
    against = [*words, "--cut", "code", "--null", "null.json", "--weights"]
    assert run([*against, "honest.safetensors"]) == 0
    assert run([*against, "vicious.safetensors"]) == 1
    assert "What crosses at cut 'code' tells more than is granted" in capsys.readouterr().out
    # the same network's answers, beside the same tolerance, tell nothing
    answers = [*words, "--tolerance", f"{stored['linear']},{stored['bent']}", "--weights"]
    assert run([*answers, "vicious.safetensors"]) == 0
    assert run([*against[:4], "--null", "null.json"]) == 2
    assert "that of cut 'code', the outputs would be watched" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--cut", "code"), "honest networks on cells.npz at cut 'code'"),
        (("--cut", "code", "--released", "logits"), "leave --released out"),
        (("--cut", "cod", "--tolerance", "0.4,0.5"), "cod"),
        (("--released", "features", "--null", "n.json", "--cut", "top"), "holds no tolerance"),
    ],
)
def test_cuts_that_cannot_be_watched_are_one_line(
    halves: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert run(["guard", "test_cli_guard:InTwo", "--data", "cells.npz", *words]) == 2
    complaint = capsys.readouterr().err
    assert said in complaint
    assert complaint.count("\n") == 1


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    g = Rng(0).torch()
    y = torch.randint(CLASSES, (500,), generator=g)
    ground = (torch.tensor([0.25, 0.5, 0.75])[y])[:, None, None, None]
    cells = torch.randn(500, 1, 4, 4, generator=g).repeat_interleave(2, 2).repeat_interleave(2, 3)
    noise = torch.rand(500, 1, 8, 8, generator=g)
    x = (ground + 0.05 * cells + 0.02 * noise).clamp(0, 1)
    np.savez(tmp_path / "images.npz", x=x[:, 0].numpy())
    for name, leak in (("honest", 0.0), ("also", 0.1), ("vicious", 20.0)):
        save_file({"leak": torch.tensor(leak)}, tmp_path / f"{name}.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return tmp_path


def guard(*words: str) -> int:
    return run(["guard", "test_cli_guard:Told", "--data", "images.npz", *words])


def test_a_tolerance_is_measured_and_told_apart_by_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = ("--honest", "honest.safetensors", "--honest", "also.safetensors")
    assert guard(*honest, "--write-null", "null.json") == 0
    assert "2 honest networks score at most" in capsys.readouterr().out
    stored = json.loads((folder / "null.json").read_text())
    assert (stored["models"], stored["learns"], stored["released"]) == (2, 250, "logits")
    assert guard("--weights", "honest.safetensors", "--null", "null.json") == 0
    said = capsys.readouterr().out
    assert "No alarm in 500 images" in said
    assert "0.34 counting honest networks beyond" in said
    assert guard("--weights", "vicious.safetensors", "--null", "null.json", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["alarm"] is True
    assert found["alarm_at"] <= 100
    assert found["p_value"] <= 0.01
    assert found["null"]["models"] == 2


def test_a_state_goes_on_where_it_was(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--weights", "honest.safetensors", "--tolerance", "0.3,0.4", "--in-order", "--json")
    assert guard(*words, "--state", "guard.safetensors") == 0
    assert json.loads(capsys.readouterr().out)["images"] == 500
    assert guard(*words, "--state", "guard.safetensors") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 1000
    assert found["beyond"] is None


def test_few_images_without_an_alarm_are_inconclusive(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    null = {"linear": 0.3, "bent": 0.4, "needed": 900, "models": 19}
    (folder / "null.json").write_text(json.dumps(null))
    assert guard("--weights", "honest.safetensors", "--null", "null.json") == 3
    assert "Inconclusive: malicious networks were told in up to 900" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing is known of honest networks on images.npz"),
        (("--tolerance", "0.4"), "expected LINEAR,BENT"),
        (("--tolerance", "0.4,1"), "tolerances lie inside (0, 1)"),
        (("--tolerance", "0.4,0.5", "--alpha", "0"), "chance of a false alarm"),
        (("--tolerance", "0.4,0.5", "--released", "pixels"), "released values are"),
        (("--tolerance", "0.4,0.5", "--null", "n.json"), "give one"),
        (("--null", "absent.json"), "holds no tolerance"),
        (("--write-null", "n.json"), "go together"),
        (("--honest", "honest.safetensors"), "go together"),
        (("--pixel-range", "0"), "expected BLACK,WHITE"),
        (("--tolerance", "0.4,0.5", "--state", "images.npz"), "not a guard's state"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert guard(*words) == 2
    complaint = capsys.readouterr().err
    assert said in complaint
    assert complaint.count("\n") == 1


def test_the_bundled_network_on_bundled_images_is_within_the_bundled_tolerance(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["guard", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["null"]["models"] >= 39
    assert found["alarm"] is False
