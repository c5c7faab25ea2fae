import hashlib
import json
import stat
from pathlib import Path

import audit_pairs_toys as toys
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from splitveil.attacks import Ridge
from splitveil.audit.pairs.case import read_case
from splitveil.audit.pairs.challenge import Made, make_challenge, score_challenge, secret_of
from splitveil.cli import BAD_INPUT, DONE
from splitveil.cli import run as command
from splitveil.errors import BadData, BadPlan
from splitveil.partition.layout import Layout, Part
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Observation, only_pairs


def make(folder: Path, out: Path, *, knows_label: bool = True) -> Made:
    own, private = toys.files(folder)
    return make_challenge(own, private, out, knows_label=knows_label)


def sealed(folder: Path, *, knows_label: bool = True) -> Path:
    return make(folder, folder / "challenge", knows_label=knows_label).folder


def answer(folder: Path, x: np.ndarray) -> Path:
    path = folder / "answer.npz"
    np.savez(path, x=x)
    return path


def test_what_is_handed_out_does_not_hold_the_inputs(tmp_path: Path) -> None:
    out = sealed(tmp_path)
    assert {path.name for path in out.iterdir()} == {
        "auxiliary.safetensors",
        "target.safetensors",
        "challenge.json",
    }
    assert set(load_file(out / "target.safetensors")) == {"z", "y"}
    private = toys.pairs(90, 2)["x"]
    for path in out.iterdir():
        content = path.read_bytes()
        assert not any(row.tobytes() in content for row in private[:, 0, 0])
    secret = secret_of(out)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert np.array_equal(load_file(secret)["x"], private)


def test_an_honest_answer_scores_as_the_error_says(tmp_path: Path) -> None:
    """Someone else learns from the folder alone; the owner's number is the plain mean error."""
    out = sealed(tmp_path)
    own, target = (load_file(out / f"{name}.safetensors") for name in ("auxiliary", "target"))
    layout = Layout((Part("z", own["z"].shape[1:]),))
    z = torch.from_numpy(own["z"]).flatten(1)
    auxiliary = Auxiliary(torch.from_numpy(own["x"]), torch.from_numpy(own["y"]))
    fitted = Ridge().fit(only_pairs(auxiliary, z, layout), Rng(0))
    seen = Observation(
        torch.from_numpy(target["z"]).flatten(1)[:, None], layout, torch.from_numpy(target["y"])
    )
    made = fitted(seen, Rng(0)).numpy()
    found = score_challenge(out, answer(tmp_path, made))
    private = toys.pairs(90, 2)["x"]
    error = float(((made - private) ** 2).mean())
    assert found.quantities["mse"].value == pytest.approx(error, rel=1e-5)
    means = np.stack([own["x"][own["y"] == k].mean(0) for k in range(toys.CLASSES)])
    floor = float(((means[target["y"]] - private) ** 2).mean())
    assert found.quantities["leakage"].value == pytest.approx(1 - error / floor, rel=1e-4)
    assert found.word == "RECOVERED"
    assert found.quantities["mse"].low < error < found.quantities["mse"].high


def test_answering_the_floor_recovers_nothing(tmp_path: Path) -> None:
    out = sealed(tmp_path, knows_label=False)
    own = load_file(out / "auxiliary.safetensors")
    assert "y" not in own
    assert "y" not in load_file(out / "target.safetensors")
    found = score_challenge(out, answer(tmp_path, np.repeat(own["x"].mean(0)[None], 90, 0)))
    assert found.quantities["leakage"].value == pytest.approx(0, abs=1e-6)
    assert found.word == "NOT RECOVERED BY 1 ATTACK AT THIS EFFORT"
    assert any("mean image" in text for text in found.quantities["leakage"].assumptions)


def test_the_commitment_is_what_it_says(tmp_path: Path) -> None:
    out = sealed(tmp_path)
    kept = load_file(secret_of(out))
    described = json.loads((out / "challenge.json").read_text())

    def digest(arrays: dict[str, np.ndarray]) -> str:
        total = hashlib.sha256()
        for name in sorted(arrays):
            head = [name, arrays[name].dtype.str, list(arrays[name].shape)]
            total.update(json.dumps(head).encode() + arrays[name].tobytes())
        return total.hexdigest()

    parts = [digest(load_file(out / f"{name}.safetensors")) for name in ("auxiliary", "target")]
    text = "\0".join((*parts, digest({"x": kept["x"]}))).encode()
    salt = kept["salt"].tobytes()
    assert len(salt) == 32
    expected = hashlib.sha256(b"splitveil challenge 1\0" + salt + text).hexdigest()
    assert described["commitment"] == expected
    again = make(tmp_path, tmp_path / "again")
    assert again.commitment != expected, "without a new salt, equal inputs could be recognised"


@pytest.mark.parametrize("changed", ["x", "salt", "auxiliary", "target", "commitment"])
def test_whatever_is_changed_is_noticed(tmp_path: Path, changed: str) -> None:
    out = sealed(tmp_path)
    private = toys.pairs(90, 2)["x"]
    if changed == "commitment":
        described = json.loads((out / "challenge.json").read_text())
        described["commitment"] = "0" * 64
        (out / "challenge.json").write_text(json.dumps(described))
    else:
        file = out / f"{changed}.safetensors" if changed[0] in "at" else secret_of(out)
        arrays = load_file(file)
        name = changed if changed in arrays else "z"
        arrays[name] = arrays[name].copy()
        arrays[name].flat[0] = 1 - arrays[name].flat[0] / 2
        save_file(arrays, file)
    with pytest.raises(BadData, match="changed after the challenge was made"):
        score_challenge(out, answer(tmp_path, private))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:-1], r"expected reconstructions x of shape \(90, 1, 8, 8\)"),
        (lambda x: x * np.nan, "90 of 90 pairs holds NaN"),
        (lambda x: (255 * x).astype(np.uint8), "expected floating point"),
    ],
)
def test_bad_answers(tmp_path: Path, change: object, message: str) -> None:
    out = sealed(tmp_path)
    with pytest.raises(BadData, match=message):
        score_challenge(out, answer(tmp_path, change(toys.pairs(90, 2)["x"])))  # type: ignore[operator]


def test_answers_outside_the_range_are_clamped_and_said_so(tmp_path: Path) -> None:
    out = sealed(tmp_path)
    private = toys.pairs(90, 2)["x"]
    made = np.where(private == private.max(), 7.0, np.clip(private + 0.1, 0, 1))
    found = score_challenge(out, answer(tmp_path, made.astype(np.float32)))
    assert found.quantities["mse"].value < 0.02
    assert "clamped" in found.notes[0]


def test_bad_folders(tmp_path: Path) -> None:
    out = sealed(tmp_path)
    with pytest.raises(BadPlan, match="exists already"):
        make(tmp_path, out)
    with pytest.raises(BadData, match="give the folder of a challenge"):
        score_challenge(tmp_path, answer(tmp_path, toys.pairs(90, 2)["x"]))
    secret_of(out).unlink()
    with pytest.raises(BadData, match="cannot read"):
        score_challenge(out, answer(tmp_path, toys.pairs(90, 2)["x"]))


def test_the_sealed_file_cannot_be_audited_but_the_pairs_can(tmp_path: Path) -> None:
    out = sealed(tmp_path)
    own, target = (str(out / f"{name}.safetensors") for name in ("auxiliary", "target"))
    with pytest.raises(BadData, match="splitveil challenge score"):
        read_case([own, target], pixel_range=None, seed=0)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, private = toys.files(tmp_path)
    out = tmp_path / "c"
    assert command(["challenge", "make", own, private, "--out", str(out)]) == DONE
    said = capsys.readouterr().out
    assert json.loads((out / "challenge.json").read_text())["commitment"] in said
    path = str(answer(tmp_path, toys.pairs(90, 2)["x"] * 0.9))
    assert command(["challenge", "score", str(out), path]) == DONE
    assert "RECOVERED. L = " in capsys.readouterr().out
    assert command(["challenge", "score", str(out), path, "--json"]) == DONE
    assert json.loads(capsys.readouterr().out)["word"] == "RECOVERED"
    assert command(["challenge", "score", str(out), str(tmp_path / "none.npz")]) == BAD_INPUT
    assert capsys.readouterr().err.count("\n") == 1
