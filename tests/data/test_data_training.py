"""Images to train on: disjoint parts, labels, the official training images."""

from pathlib import Path

import numpy as np
import pytest
import torch

from splitveil.data import LabelledImages, TrainingImages, load_training
from splitveil.data.fashion_mnist import PACKAGE, read_training
from splitveil.errors import BadData, BadPlan, UnknownName
from splitveil.rng import Rng


def write(folder: Path, count: int = 200, *, labels: bool = True) -> str:
    draw = np.random.default_rng(0)
    x = draw.integers(0, 256, (count, 8, 8), dtype=np.uint8)
    x[:, 0, 0] = np.arange(count) % 256
    given = {"x": x, "y": np.arange(count) % 4} if labels else {"x": x}
    np.savez(folder / "images.npz", **given)
    return str(folder / "images.npz")


def test_parts_are_disjoint_complete_and_in_proportion(tmp_path: Path) -> None:
    found = load_training(write(tmp_path))
    assert [len(part) for part in found.parts] == [160, 20, 20]
    ids = torch.cat([part.ids for part in found.parts])
    assert sorted(ids.tolist()) == list(range(200))
    for part in found.parts:
        assert part.y is not None
        assert part.y.bincount().tolist() == [len(part) // 4] * 4
        assert torch.equal((part.x[:, 0, 0, 0] * 255).round().long(), part.ids)
    assert found.name == "images.npz"


def test_the_division_follows_the_seed(tmp_path: Path) -> None:
    source = write(tmp_path)
    one, again, other = (load_training(source, rng=Rng(seed)) for seed in (0, 0, 1))
    assert one.digest == again.digest
    assert one.digest != other.digest


def test_fewer_images_and_another_size(tmp_path: Path) -> None:
    found = load_training(write(tmp_path), images=60, size=16, channels=3)
    assert [len(part) for part in found.parts] == [48, 6, 6]
    assert found.train.x.shape[1:] == (3, 16, 16)
    assert any("60 of 200" in note for note in found.conversions)


@pytest.mark.skipif(not PACKAGE.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_official_training_images_exclude_those_an_attacker_holds() -> None:
    whole = read_training()
    assert len(whole) == 50_000
    found = load_training("fashion-mnist", size=32, images=100)
    assert found.train.x.shape[1:] == (1, 32, 32)
    assert int(max(part.ids.max() for part in found.parts)) < 50_000


def test_what_cannot_be_trained_on_is_said(tmp_path: Path) -> None:
    source = write(tmp_path)
    with pytest.raises(BadPlan, match="at least 40"):
        load_training(source, images=10)
    with pytest.raises(BadData, match="no labels"):
        load_training(write(tmp_path, labels=False))
    with pytest.raises(BadData, match="30 images"):
        load_training(write(tmp_path, 30))
    with pytest.raises(UnknownName, match="fashion-mnist"):
        load_training("fashion-mnits")


def test_parts_of_different_shape_are_refused() -> None:
    small, large = torch.zeros(4, 1, 2, 2), torch.zeros(4, 1, 3, 3)
    y = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(BadData, match="one shape"):
        TrainingImages(
            name="x",
            train=LabelledImages(small, y),
            validation=LabelledImages(large, y),
            probe=LabelledImages(small, y),
        )
