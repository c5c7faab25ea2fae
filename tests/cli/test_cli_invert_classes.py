"""splitveil invert-classes: what it refuses, and a run on data of one's own."""

import json
from pathlib import Path

import numpy as np
import pytest

from splitveil.cli import BAD_INPUT, DONE, run
from splitveil.rng import Rng


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    draws = Rng(0).numpy()
    pixels = draws.integers(0, 256, (90, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "private.npz", x=pixels, y=np.arange(90) % 3)
    np.savez(tmp_path / "public.npz", x=draws.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8))
    (tmp_path / "tiny_nets.py").write_text(
        "from torch import nn\n"
        "def net(channels=1, classes=3):\n"
        "    last = nn.Linear(8, classes)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), last)\n"
        "def attack():\n"
        "    from splitveil.class_inversion import (Adam, ClassInversion, CrossEntropy, Draws,\n"
        "        Objective, Rules, Wasserstein)\n"
        "    rules = Rules(steps=9, batch=8)\n"
        "    prior = Wasserstein(latent=4, width=8, critic_width=8, rules=rules)\n"
        "    return ClassInversion(name='mine', prior=prior, start=Draws(restarts=1),\n"
        "        search=Adam(steps=2), objective=Objective(identity=CrossEntropy()))\n"
    )
    return tmp_path


MINE = ["invert-classes", "tiny_nets:net", "--data", "private.npz", "--public", "public.npz"]
MINE += ["--attack", "tiny_nets:attack", "--judge", "tiny_nets:net", "--judge-epochs", "1"]


def test_own_data_give_a_page_without_pictures(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*MINE, "--prior-steps", "2", "--json"]) == DONE
    told = json.loads(capsys.readouterr().out)
    assert told["attacks"]["mine"]["queries"] == 6
    page = here / "splitveil-classes" / "class-inversion.html"
    assert Path(told["report"]) == Path("splitveil-classes") / page.name
    assert "data:image/png" not in page.read_text(encoding="utf-8")
    record = json.loads((here / "splitveil-classes" / "class-inversion.json").read_text())
    assert (record["model"]["name"], record["data"]["name"]) == ("tiny_nets:net", "private.npz")


def test_an_audit_of_training_data_is_the_same(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = ["audit", "tiny_nets:net", "--target", "training-data", "--data", "private.npz"]
    assert run([*audit, "--attack", "gmi", "--cut", "conv1", "--budget", "3m"]) == BAD_INPUT
    told = capsys.readouterr().err
    assert "--cut, --budget: not with --target training-data" in told
    assert len(told.strip().splitlines()) == 1
    assert run([*audit, "--attack", "gmi"]) == BAD_INPUT
    assert "--public is missing" in capsys.readouterr().err
    assert run([*audit[:3], "weights", "--data", "private.npz"]) == BAD_INPUT
    assert "unknown target 'weights'" in capsys.readouterr().err
    audit += ["--auxiliary", "public.npz", "--attack", "gmii", "--out", "here"]
    assert run(audit) == BAD_INPUT
    told = capsys.readouterr().err
    assert "This is `splitveil invert-classes`" in told
    assert "unknown attack 'gmii'" in told


def test_who_knows_the_network_before_fine_tuning_is_named_so(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*MINE, "--prior-steps", "2", "--before", "tiny_nets:net", "--json", "--attacked", "2"]
    assert run(given) == DONE
    assert [*json.loads(capsys.readouterr().out)["attacks"]] == ["mine knowing the start"]


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--attack", "gmii"], "unknown attack 'gmii': did you mean gmi"),
        (["--access", "grey"], "--access is white, score or label, got 'grey'"),
        (["--constants", "gpu", "--attack", "gmi"], "--constants are cpu or paper, got 'gpu'"),
        (["--prior", "tiny_nets:net"], "return a Prior, or a torch.nn.Module with an attribute"),
    ],
)
def test_bad_settings_end_in_one_line(
    extra: list[str], said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*MINE, *extra]) == BAD_INPUT
    text = capsys.readouterr().err
    assert said in text
    assert len(text.strip().splitlines()) == 1


def test_public_images_must_be_given(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [word for word in MINE if word not in ("--public", "public.npz")]
    assert run(given) == BAD_INPUT
    assert "--public is missing" in capsys.readouterr().err
