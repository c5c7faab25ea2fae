import sys
from pathlib import Path

import pytest
import torch
from model_files import FACTORY, images, save, single

from splitveil.errors import BadModel, UnknownName
from splitveil.models import load_model


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that holds the module own_model; everything is put back afterwards."""
    (tmp_path / "own_model.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_model", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("form", "suffix"),
    [
        ("safetensors", ".safetensors"),
        ("bare", ".pt"),
        ("nested", ".pth"),
        ("model", ".pt"),
        ("prefixed", ".pt"),
        ("both", ".pt"),
    ],
)
def test_weights_of_every_form_fit(workplace: Path, form: str, suffix: str) -> None:
    network = single()
    path = save(workplace / f"w{suffix}", network.state_dict(), form)
    loaded = load_model("own_model:single", weights=path)
    assert torch.equal(loaded.network(images()), network(images()))
    assert not loaded.reference
    assert loaded.parameters == sum(p.numel() for p in network.parameters())
    assert "executed the Python code of own_model" in loaded.notes[0]


def test_a_ready_module_is_a_model_too(workplace: Path) -> None:
    assert load_model("own_model:ready").network(images()).shape == (5, 4)


def test_settings_reach_the_factory(workplace: Path) -> None:
    loaded = load_model("own_model:make", settings={"width": 7}, output="logits")
    assert loaded.network.network.body.out_channels == 7  # type: ignore[union-attr]


def test_mean_and_std_are_applied_per_channel(workplace: Path) -> None:
    (workplace / "own_colour.py").write_text("from torch import nn\nmake = nn.Identity\n")
    loaded = load_model("own_colour:make", mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0))
    x = torch.rand(2, 3, 4, 4)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1.0, 2.0, 4.0])
    expected = (x - mean[:, None, None]) / std[:, None, None]
    assert torch.equal(loaded.network(x), expected)
    assert loaded.channels == 3


def test_outputs_are_chosen_by_key_or_position(workplace: Path) -> None:
    by_key = load_model("own_model:make", output="logits").network
    by_place = load_model("own_model:pair", output=1).network
    assert by_key(images()).shape == (5, 4)
    assert by_place(images()).shape == (5, 4)


def test_class_order_by_name_and_by_number(workplace: Path) -> None:
    plain = load_model("own_model:single").network(images())
    named = load_model(
        "own_model:single",
        classes=["ant", "bee", "cat", "dog"],
        data_classes=["dog", "ant", "cat"],
    )
    assert torch.equal(named.network(images()), plain[:, [3, 0, 2]])
    # output 0 is the score of label 2, output 1 of label 0, ...
    numbered = load_model("own_model:single", classes=["2", "0", "3", "1"])
    assert torch.equal(numbered.network(images()), plain[:, [1, 3, 0, 2]])
    both = load_model(
        "own_model:single", classes=["2", "0", "3", "1"], data_classes=["ant", "bee", "cat", "dog"]
    )
    assert torch.equal(both.network(images()), plain[:, [1, 3, 0, 2]])


def test_a_factory_without_weights_is_the_same_every_time(workplace: Path) -> None:
    before = torch.random.get_rng_state()
    assert load_model("own_model:single").digest == load_model("own_model:single").digest
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_whole_model_is_traceable(workplace: Path) -> None:
    for name, output in (("own_model:single", None), ("own_model:make", "logits")):
        network = load_model(name, output=output, classes=list("3210")).network
        assert torch.equal(torch.fx.symbolic_trace(network)(images()), network(images()))


FAKE_TIMM = """
from torch import nn
def list_models():
    return ["tinynet"]
def create_model(name, pretrained, in_chans=3):
    assert not pretrained
    network = nn.Conv2d(in_chans, 2, 1)
    network.pretrained_cfg = {
        "input_size": (3, 64, 64), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.1)}
    return network
"""


def test_timm_names_bring_their_normalisation(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workplace / "timm.py").write_text(FAKE_TIMM)
    monkeypatch.syspath_prepend(str(workplace))
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    loaded = load_model("timm:tinynet")
    assert (loaded.mean, loaded.std) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    assert (loaded.channels, loaded.size) == (3, 64)
    assert "are timm's for tinynet" in loaded.notes[0]
    assert load_model("timm:tinynet", mean=(0.0,) * 3, std=(1.0,) * 3).mean == (0.0, 0.0, 0.0)
    assert load_model("timm:tinynet", settings={"in_chans": 1}).mean == (0.0,)
    with pytest.raises(UnknownName, match="did you mean tinynet"):
        load_model("timm:tinnet")
    with pytest.raises(BadModel, match="timm:tinynet cannot be made: TypeError"):
        load_model("timm:tinynet", settings={"depth": 3})
    monkeypatch.delitem(sys.modules, "timm")


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_missing_and_broken_extras_are_one_line(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(BadModel, match=rf"pip install 'splitveil\[{library}\]'"):
        load_model(f"{library}:resnet18")
    monkeypatch.delitem(sys.modules, library)
    (workplace / f"{library}.py").write_text("raise RuntimeError('operator nms does not exist')")
    monkeypatch.syspath_prepend(str(workplace))
    with pytest.raises(BadModel, match=r"installed but cannot be imported .*nms does not exist"):
        load_model(f"{library}:resnet18")
