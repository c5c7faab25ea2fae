"""Every way that a model can be wrong ends in one line that says what to do."""

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from model_files import FACTORY, images, save, single
from safetensors.torch import load_file
from torch import nn

from splitveil.errors import BadInput, BadModel, UnknownName
from splitveil.models import load_model, load_utility
from splitveil.models.weights import read_weights


class Opaque:
    """Something that only unpickling brings back."""


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that holds the module own_bad_model; put back afterwards."""
    (tmp_path / "own_bad_model.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_bad_model", raising=False)
    return tmp_path


NAMES: list[tuple[str, dict[str, Any], type[BadInput], str]] = [
    ("vgh", {}, UnknownName, "did you mean vgg"),
    ("own_bad_modle:make", {}, BadModel, "no module 'own_bad_modle' in"),
    ("own_bad_model:mke", {}, UnknownName, "did you mean make"),
    ("own_bad_model:fails", {}, BadModel, "failed: RuntimeError: no such$"),
    ("own_bad_model:text", {}, BadModel, "gave a str: return a torch.nn.Module"),
    ("own_bad_model:number", {}, BadModel, "is a int: name a function or a class"),
    ("own_bad_model:make", {"settings": {"depth": 1}}, BadModel, "unexpected keyword .*depth"),
    ("own_bad_model:make", {"std": (0.0,), "mean": (0.0,)}, BadModel, "must be positive"),
    ("own_bad_model:make", {"std": (float("nan"),)}, BadModel, "must be finite"),
    ("own_bad_model:make", {"mean": (0.0,) * 3, "std": (1.0,) * 2}, BadModel, "3 means and 2 st"),
    ("own_bad_model:single", {"classes": ["a", "a"]}, BadModel, "'a' is named twice"),
    (
        "own_bad_model:single",
        {"classes": ["ant", "bee"], "data_classes": ["ant", "bea"]},
        UnknownName,
        "did you mean bee",
    ),
    ("vgg", {"mean": (0.1, 0.2), "std": (0.1, 0.2)}, BadModel, "2 means for a model of 1 channels"),
    ("own_bad_model:single", {"weights": "none.pt"}, BadModel, "none.pt do not exist"),
    ("absent.pt", {}, BadModel, "absent.pt do not exist"),
]


@pytest.mark.parametrize(("name", "settings", "error", "message"), NAMES)
def test_bad_models_are_one_clear_line(
    workplace: Path, name: str, settings: dict[str, Any], error: type[BadInput], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        load_model(name, **settings)
    assert "\n" not in str(caught.value)


def test_weights_given_as_the_model(workplace: Path) -> None:
    path = save(workplace / "w.pt", single().state_dict(), "bare")
    with pytest.raises(BadModel, match="is a file of weights, not a model: give package"):
        load_model(str(path))


def test_weights_that_do_not_fit_are_named(workplace: Path) -> None:
    state = single().state_dict()
    state["3.weight"] = torch.zeros(4, 9)
    state["classifier.weight"] = state.pop("3.bias")
    path = save(workplace / "w.safetensors", state, "safetensors")
    with pytest.raises(BadModel) as caught:
        load_model("own_bad_model:single", weights=path)
    text = str(caught.value)
    assert "1 missing (3.bias)" in text
    assert "1 unexpected (classifier.weight)" in text
    assert "1 of another shape (3.weight (4, 9) instead of (4, 108))" in text


def test_many_misfits_are_counted_not_listed(workplace: Path) -> None:
    path = save(workplace / "w.pt", {f"layer{i}": torch.zeros(1) for i in range(30)}, "bare")
    with pytest.raises(BadModel, match=r"30 unexpected \(layer0, layer1, layer2, and 27 more\)"):
        load_model("own_bad_model:single", weights=path)


def test_nan_weights_are_refused(workplace: Path) -> None:
    network = single()
    next(network.parameters()).data[0, 0, 0, 0] = float("nan")
    path = save(workplace / "w.pt", network.state_dict(), "bare")
    with pytest.raises(BadModel, match=r"1 of 27 values of '0.weight' are NaN"):
        load_model("own_bad_model:single", weights=path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickled_model_is_refused_and_the_advice_converts_it(
    workplace: Path, zipped: bool
) -> None:
    network = single()
    torch.save(network, workplace / "whole.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(BadModel, match="would run the code in it") as caught:
        load_model("whole.pt")
    command = str(caught.value).partition("convert it with ")[2].partition(" and give the")[0]
    program, flag, code = shlex.split(command)
    assert (program, flag) == ("python", "-c")
    exec(code, {})
    state = load_file(workplace / "whole.safetensors")
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    loaded = load_model("own_bad_model:single", weights="whole.safetensors")
    assert torch.equal(loaded.network(images()), network(images()))


def test_pickles_beside_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": single().state_dict(), "extra": Opaque()}, tmp_path / "w.ckpt")
    with pytest.raises(BadModel, match="would run the code in it"):
        read_weights(tmp_path / "w.ckpt")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.safetensors", b"no safetensors at all", "cannot read weights .*w.safetensors"),
        ("w.pt", b"no weights at all, but long enough", "w.pt is not a file of PyTorch weights"),
        ("w.pt", b"", "cannot read weights .*w.pt"),
        ("w.h5", b"another format", "expected a file ending in .safetensors, .pt"),
    ],
)
def test_damaged_weights(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadModel, match=message) as caught:
        read_weights(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_weights_cut_short(tmp_path: Path) -> None:
    for form, name in (("bare", "w.pt"), ("safetensors", "w.safetensors")):
        path = save(tmp_path / name, single().state_dict(), form)
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(BadModel, match=f"cannot read weights .*{name}"):
            read_weights(path)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ([1, 2], "holds a list: expected a state dict"),
        ({"epoch": 3}, r"no tensors \(epoch\)"),
        ({}, "holds nothing"),
    ],
)
def test_files_without_a_state_dict(tmp_path: Path, stored: object, message: str) -> None:
    torch.save(stored, tmp_path / "w.pt")
    with pytest.raises(BadModel, match=message):
        read_weights(tmp_path / "w.pt")


def test_results_that_need_choosing_name_the_choices(workplace: Path) -> None:
    cases: list[tuple[str, str | int | None, str]] = [
        ("make", None, "mapping with keys features, logits: choose the logits with output=KEY"),
        ("make", "logit", "output='logit' is not there: the model gives keys features, logits"),
        ("pair", None, "gives 2 results: choose the logits with output=POSITION"),
        ("pair", 2, "output=2 is not there: the model gives 2 results"),
        ("single", 0, "gives one tensor, so output=0 makes no sense"),
    ]
    for name, output, message in cases:
        network = load_model(f"own_bad_model:{name}", output=output).network
        with pytest.raises(BadModel, match=message):
            network(images())


def test_utilities(workplace: Path) -> None:
    logits, labels = torch.eye(3), torch.tensor([0, 1, 0])
    assert load_utility()(logits, labels).tolist() == [1.0, 1.0, 0.0]
    own = load_utility("own_bad_model:sure")(logits, labels)
    assert torch.allclose(own, nn.functional.softmax(logits, 1)[torch.arange(3), labels])
    for name, message in (
        ("wrong_shape", r"gave \(3, 3\): return one score for each of 3 images"),
        ("not_finite", "gave NaN or infinity"),
        ("broken", "failed: IndexError"),
    ):
        with pytest.raises(BadModel, match=message):
            load_utility(f"own_bad_model:{name}")(logits, labels)
    with pytest.raises(BadModel, match="is a int: name a function"):
        load_utility("own_bad_model:number")
    with pytest.raises(UnknownName, match="did you mean sure"):
        load_utility("own_bad_model:suer")
