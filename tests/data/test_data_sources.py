import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from data_files import class_folder, random_bytes, write_idx, write_picture

from splitveil.data import SplitSizes, load_data
from splitveil.rng import Rng

SMALL = SplitSizes(auxiliary=16, validation=4, test=8)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; the import path is put back afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_class_subfolders_become_labels(tmp_path: Path) -> None:
    data = load_data(str(class_folder(tmp_path / "pets")))
    assert data.class_names == ("cat", "dog")
    assert data.name == "pets"
    assert data.test.x.shape[1:] == (3, 8, 8)
    assert sum(map(len, (data.auxiliary, data.validation, data.test))) <= 40
    for number in range(3):
        image, label = data.test.x[number], data.test.y
        assert label is not None
        at = int(data.test.ids[number])
        pixels = random_bytes(8, 8, 3, seed=100 * (at // 20) + at % 20)
        assert int(label[number]) == at // 20
        assert torch.equal(image, torch.from_numpy(pixels).permute(2, 0, 1).float() / 255)


def test_the_order_of_classes_can_be_given(tmp_path: Path) -> None:
    folder = str(class_folder(tmp_path))
    swapped = load_data(folder, classes=["dog", "cat"])
    plain = load_data(folder)
    assert swapped.test.y is not None
    assert plain.test.y is not None
    by_id = dict(zip(plain.test.ids.tolist(), plain.test.y.tolist(), strict=True))
    for at, label in zip(swapped.test.ids.tolist(), swapped.test.y.tolist(), strict=True):
        assert by_id.get(at, 1 - label) == 1 - label


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    for number in range(30):
        write_picture(tmp_path / f"{number}.png", random_bytes(6, 6, seed=number))
    (tmp_path / "notes.txt").write_text("not a picture")
    data = load_data(str(tmp_path))
    assert data.test.y is None
    assert data.class_names == ()
    assert data.channels == 1


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_pairs_are_found_by_file_and_by_folder(tmp_path: Path, suffix: str) -> None:
    images, labels = random_bytes(40, 7, 7), (np.arange(40) % 4).astype(np.uint8)
    path = write_idx(tmp_path / f"my-images-idx3-ubyte{suffix}", images)
    write_idx(tmp_path / "my-labels-idx1-ubyte.gz", labels)
    for source in (path, tmp_path):
        data = load_data(str(source))
        assert data.test.y is not None
        assert torch.equal(data.test.y, torch.from_numpy(labels[data.test.ids]).long())
        assert torch.equal(data.test.x[:, 0], torch.from_numpy(images[data.test.ids]) / 255)
        assert data.class_names == ("0", "1", "2", "3")


def test_idx_images_without_labels_are_unlabelled(tmp_path: Path) -> None:
    path = write_idx(tmp_path / "my-images-idx3-ubyte", random_bytes(40, 7, 7))
    assert load_data(str(path)).test.y is None


@pytest.mark.parametrize("layout", ["grey", "first", "last"])
def test_npz_in_each_layout(tmp_path: Path, layout: str) -> None:
    images = np.random.default_rng(0).random((40, 9, 9, 3), dtype=np.float32)
    stored = {"grey": images[..., 0], "first": images.transpose(0, 3, 1, 2), "last": images}[layout]
    np.savez(tmp_path / "mine.npz", x=stored, y=np.arange(40) % 2)
    data = load_data(str(tmp_path / "mine.npz"))
    expected = torch.from_numpy(images).permute(0, 3, 1, 2)[:, : data.channels]
    assert data.channels == (1 if layout == "grey" else 3)
    assert torch.equal(data.test.x, expected[data.test.ids])
    assert data.conversions == ()


def test_a_factory_in_the_working_directory(workplace: Path) -> None:
    (workplace / "own_data.py").write_text(
        "import torch\n"
        "def both():\n    return torch.rand(40, 1, 5, 5), torch.arange(40) % 3\n"
        "def images():\n    return torch.rand(40, 5, 5).numpy()\n"
    )
    data = load_data("own_data:both")
    assert data.class_names == ("0", "1", "2")
    assert load_data("own_data:both").digest == data.digest
    assert load_data("own_data:images").test.y is None


def test_a_factory_leaves_the_global_generator_alone(workplace: Path) -> None:
    (workplace / "own_random_data.py").write_text(
        "import torch\ndef make():\n    return torch.rand(40, 1, 5, 5)\n"
    )
    before = torch.random.get_rng_state()
    load_data("own_random_data:make")
    assert torch.equal(before, torch.random.get_rng_state())


def test_splits_are_disjoint_seeded_and_stratified(tmp_path: Path) -> None:
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    np.savez(tmp_path / "mine.npz", x=random_bytes(1000, 4, 4), y=labels)
    limits = SplitSizes(auxiliary=500, validation=100, test=200)
    source = str(tmp_path / "mine.npz")
    data = load_data(source, limits=limits)
    ids = [set(part.ids.tolist()) for part in (data.auxiliary, data.validation, data.test)]
    assert list(map(len, ids)) == [500, 100, 200]
    assert len(set.union(*ids)) == 800
    for part in (data.auxiliary, data.validation, data.test):
        assert part.y is not None
        share = part.y.bincount(minlength=3).double() / len(part)
        # each class deviates by at most two images from its share
        assert (share - torch.tensor([0.6, 0.3, 0.1])).abs().max() <= 2 / len(part)
    assert load_data(source, limits=limits).digest == data.digest
    assert load_data(source, limits=limits, rng=Rng(1)).digest != data.digest


def test_a_small_source_is_divided_in_proportion(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", x=random_bytes(70, 4, 4))
    data = load_data(str(tmp_path / "mine.npz"))
    assert (len(data.auxiliary), len(data.validation), len(data.test)) == (40, 10, 20)


def test_auxiliary_images_from_elsewhere(tmp_path: Path) -> None:
    np.savez(tmp_path / "private.npz", x=random_bytes(40, 4, 4), y=np.arange(40) % 2)
    np.savez(tmp_path / "public.npz", x=random_bytes(50, 4, 4, seed=1), y=np.arange(50) % 2)
    data = load_data(str(tmp_path / "private.npz"), auxiliary=str(tmp_path / "public.npz"))
    public = torch.from_numpy(random_bytes(50, 4, 4, seed=1)) / 255
    assert len(data.auxiliary) == 50
    assert torch.equal(data.auxiliary.x[:, 0], public[data.auxiliary.ids])
    assert len(data.validation) + len(data.test) == 40


def test_mixed_sizes_and_modes_are_converted_when_asked(tmp_path: Path) -> None:
    for number in range(20):
        write_picture(tmp_path / f"a{number}.png", random_bytes(10, 12, 3, seed=number))
        write_picture(tmp_path / f"b{number}.png", random_bytes(6, 6, 4, seed=number))
    data = load_data(str(tmp_path), size=8, channels=1, limits=SMALL)
    assert data.test.x.shape[1:] == (1, 8, 8)
    text = " ".join(data.conversions)
    assert "10x12 to 8x8" in text
    assert "aspect ratio was not kept" in text
    assert "mode RGBA were converted to RGB" in text
    assert "RGB was made grey" in text


def test_pixel_range_is_applied_and_recorded(tmp_path: Path) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (40, 4, 4)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", x=x)
    data = load_data(str(tmp_path / "mine.npz"), pixel_range=(-1.0, 1.0))
    expected = (torch.from_numpy(x)[data.test.ids] + 1) / 2
    assert torch.allclose(data.test.x[:, 0], expected, atol=1e-7)
    assert "Stored values -1 to 1 were mapped to 0 to 1." in data.conversions
