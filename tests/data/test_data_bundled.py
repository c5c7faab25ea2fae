import importlib.util
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

from splitveil.data import LabelledImages, SplitSizes, load_data
from splitveil.data.fashion_mnist import PACKAGE, read_bundled, read_installed
from splitveil.data.idx import read_idx
from splitveil.errors import BadData

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_bundled_data.py"
installed = pytest.mark.skipif(not PACKAGE.is_dir(), reason="needs dataset-fashion-mnist")


def test_the_bundled_file_is_small_and_licensed() -> None:
    folder = files("splitveil.data").joinpath("bundled")
    assert len(folder.joinpath("fashion_mnist.npz").read_bytes()) <= 1_600_000
    assert "Zalando" in folder.joinpath("LICENSE-fashion-mnist").read_text()


def test_bundled_splits_are_balanced_disjoint_and_held_out() -> None:
    parts = read_bundled()
    for split, count in (("auxiliary", 2000), ("validation", 500), ("test", 1000)):
        labels = parts[split].labels
        assert labels is not None
        assert parts[split].pixels.shape == (count, 28, 28, 1)
        assert np.bincount(labels).tolist() == [count // 10] * 10
        assert len(set(parts[split].index.tolist())) == count
    assert parts["auxiliary"].index.min() >= 50_000
    assert parts["auxiliary"].index.max() < 60_000
    assert max(parts["validation"].index.max(), parts["test"].index.max()) < 10_000
    assert not set(parts["validation"].index.tolist()) & set(parts["test"].index.tolist())


@installed
def test_bundled_images_are_the_official_ones_at_their_recorded_place() -> None:
    parts = read_bundled()
    official = read_idx(PACKAGE / "t10k-images-idx3-ubyte.gz")
    labels = read_idx(PACKAGE / "t10k-labels-idx1-ubyte.gz")
    for split in ("validation", "test"):
        index, stored = parts[split].index, parts[split].labels
        assert stored is not None
        assert np.array_equal(parts[split].pixels[..., 0], official[index])
        assert np.array_equal(stored, labels[index])


@installed
def test_the_script_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("make_bundled_data", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    out = tmp_path / "again.npz"
    monkeypatch.setattr(sys, "argv", ["make_bundled_data.py", "--out", str(out)])
    script.main()
    bundled = files("splitveil.data").joinpath("bundled/fashion_mnist.npz").read_bytes()
    assert out.read_bytes() == bundled


def test_the_demonstration_is_padded_exactly_and_says_so() -> None:
    data = load_data(None)
    stored = torch.from_numpy(read_bundled()["test"].pixels[..., 0].copy()).float() / 255
    assert data.size == (32, 32)
    assert data.channels == 1
    assert torch.equal(data.test.x[:, 0, 2:30, 2:30], stored)
    assert float(data.test.x.sum()) == pytest.approx(float(stored.sum()), rel=1e-6)
    assert any("padded with black from 28x28 to 32x32" in note for note in data.conversions)
    assert len(data.class_names) == 10
    assert "MIT" in data.licence


def test_the_bundled_splits_share_no_near_duplicates() -> None:
    assert load_data("demo").duplicates.counts == {
        "auxiliary-validation": 0,
        "auxiliary-test": 0,
        "validation-test": 0,
    }


def test_digest_sees_pixels_and_labels_and_nothing_else_changes_it() -> None:
    data = load_data("demo")
    assert data.digest == load_data(None).digest
    assert len(data.digest) == 64
    x, y = data.test.x.clone(), data.test.y
    assert y is not None
    x[0, 0, 5, 5] += 0.001
    changed = {
        "pixel": replace(data, test=LabelledImages(x, y)).digest,
        "label": replace(data, test=LabelledImages(data.test.x, y.roll(1))).digest,
        "order": replace(data, test=LabelledImages(data.test.x.flip(0), y.flip(0))).digest,
        "split": replace(data, test=data.validation, validation=data.test).digest,
        "names": replace(data, class_names=data.class_names[::-1]).digest,
    }
    assert len({data.digest, *changed.values()}) == 6
    assert replace(data, conversions=("another sentence",)).digest == data.digest


def test_limits_shorten_the_demonstration_and_keep_it_balanced() -> None:
    data = load_data("demo", limits=SplitSizes(auxiliary=100, validation=20, test=50))
    assert (len(data.auxiliary), len(data.validation), len(data.test)) == (100, 20, 50)
    assert data.test.y is not None
    assert data.test.y.bincount(minlength=10).max() <= 7
    assert any("are used" in note for note in data.conversions)


def test_class_names_of_the_demonstration_must_be_ten() -> None:
    with pytest.raises(BadData, match="10 classes, got 2 names"):
        load_data("demo", classes=["a", "b"])


@installed
def test_the_full_set_has_the_held_out_training_images_and_all_test_images() -> None:
    parts = read_installed()
    assert {name: len(part) for name, part in parts.items()} == {
        "auxiliary": 10_000,
        "validation": 2_000,
        "test": 8_000,
    }
    assert parts["auxiliary"].index[0] == 50_000


def test_without_the_package_the_error_names_it(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="apt-get install dataset-fashion-mnist"):
        read_installed(tmp_path / "nowhere")
