"""Every way that data can be wrong ends in one line that says what to do."""

import gzip
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from data_files import class_folder, random_bytes, write_idx, write_picture
from PIL import Image

from splitveil.data import LabelledImages, SplitSizes, load_data
from splitveil.errors import BadData, BadInput, BadPlan, UnknownName


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; the import path is put back afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def missing_folder(folder: Path) -> str:
    return str(folder / "nowhere")


def misspelt_name(folder: Path) -> str:
    return "fashion-mnits"


def empty_folder(folder: Path) -> str:
    return str(folder)


def empty_class(folder: Path) -> str:
    (class_folder(folder) / "emu").mkdir()
    return str(folder)


def pictures_beside_classes(folder: Path) -> str:
    write_picture(class_folder(folder) / "stray.png", random_bytes(8, 8, 3))
    return str(folder)


def broken_picture(folder: Path) -> str:
    (class_folder(folder) / "cat" / "003.png").write_bytes(b"not a picture")
    return str(folder)


def truncated_picture(folder: Path) -> str:
    path = class_folder(folder) / "dog" / "004.png"
    path.write_bytes(path.read_bytes()[:60])
    return str(folder)


def mixed_sizes(folder: Path) -> str:
    write_picture(class_folder(folder) / "cat" / "000.png", random_bytes(8, 9, 3))
    return str(folder)


def transparent_picture(folder: Path) -> str:
    write_picture(class_folder(folder) / "cat" / "000.png", random_bytes(8, 8, 4))
    return str(folder)


def deep_picture(folder: Path) -> str:
    deep = Image.fromarray(np.full((8, 8), 60000, np.uint16))
    deep.save(class_folder(folder) / "cat" / "000.png")
    return str(folder)


def too_few(folder: Path) -> str:
    return str(class_folder(folder, each=5))


def several_idx(folder: Path) -> str:
    for name in ("train", "t10k"):
        write_idx(folder / f"{name}-images-idx3-ubyte", random_bytes(40, 4, 4))
    return str(folder)


def idx_label_count(folder: Path) -> str:
    write_idx(folder / "a-labels-idx1-ubyte", random_bytes(39))
    return str(write_idx(folder / "a-images-idx3-ubyte", random_bytes(40, 4, 4)))


def idx_cut_short(folder: Path) -> str:
    path = write_idx(folder / "a-images-idx3-ubyte", random_bytes(40, 4, 4))
    path.write_bytes(path.read_bytes()[:100])
    return str(path)


def idx_damaged_gzip(folder: Path) -> str:
    path = folder / "a-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(bytes(1000))[:20])
    return str(path)


def idx_other_type(folder: Path) -> str:
    path = folder / "a-images-idx3-ubyte"
    path.write_bytes(b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00\x00\x00\x00")
    return str(path)


def idx_vectors(folder: Path) -> str:
    return str(write_idx(folder / "a-images-idx3-ubyte", random_bytes(40, 4)))


def npz(folder: Path, **arrays: np.ndarray) -> str:
    np.savez(folder / "mine.npz", **arrays)  # type: ignore[arg-type]
    return str(folder / "mine.npz")


def npz_objects(folder: Path) -> str:
    return npz(folder, x=np.array([{"pickled": True}] * 40, dtype=object))


def npz_misnamed(folder: Path) -> str:
    return npz(folder, X=random_bytes(40, 4, 4))


def npz_damaged(folder: Path) -> str:
    path = Path(npz(folder, x=random_bytes(40, 4, 4)))
    path.write_bytes(path.read_bytes()[:80])
    return str(path)


def npz_label_count(folder: Path) -> str:
    return npz(folder, x=random_bytes(40, 4, 4), y=np.arange(39))


def npz_float_labels(folder: Path) -> str:
    return npz(folder, x=random_bytes(40, 4, 4), y=np.arange(40) / 2)


def npz_negative_labels(folder: Path) -> str:
    return npz(folder, x=random_bytes(40, 4, 4), y=np.arange(40) - 1)


def npz_nan(folder: Path) -> str:
    x = np.zeros((40, 4, 4), np.float32)
    x[:, 0, 0] = np.nan
    return npz(folder, x=x)


def npz_normalised(folder: Path) -> str:
    return npz(folder, x=np.random.default_rng(0).normal(size=(40, 4, 4)))


def npz_ambiguous(folder: Path) -> str:
    return npz(folder, x=random_bytes(40, 3, 8, 3))


def npz_five_channels(folder: Path) -> str:
    return npz(folder, x=random_bytes(40, 5, 8, 8))


def npz_empty(folder: Path) -> str:
    return npz(folder, x=random_bytes(0, 8, 8))


def unknown_file(folder: Path) -> str:
    (folder / "images.csv").write_text("1,2,3")
    return str(folder / "images.csv")


CASES: list[tuple[Callable[[Path], str], type[BadInput], str]] = [
    (missing_folder, BadData, "does not exist: check the path"),
    (misspelt_name, UnknownName, "did you mean fashion-mnist"),
    (empty_folder, BadData, "holds no pictures: expected files with suffixes"),
    (empty_class, BadData, "emu holds no pictures: fill or remove it"),
    (pictures_beside_classes, BadData, r"holds pictures \(stray.png\) beside folders \(cat\)"),
    (broken_picture, BadData, r"cannot read picture .*cat/003.png"),
    (truncated_picture, BadData, r"cannot read picture .*dog/004.png"),
    (mixed_sizes, BadData, r"2 shapes \(3x8x8, 3x8x9\): give size="),
    (transparent_picture, BadData, "colour mode RGBA: give channels=3"),
    (deep_picture, BadData, "mode I;16, not bytes"),
    (too_few, BadData, "has 10 images, too few: at least 28 are needed"),
    (several_idx, BadData, "holds 2 IDX image files"),
    (idx_label_count, BadData, r"labels have shape \(39,\), expected \(40,\)"),
    (idx_cut_short, BadData, "declares shape .* fetch it again"),
    (idx_damaged_gzip, BadData, "damaged gzip file"),
    (idx_other_type, BadData, "IDX type 0x0d"),
    (idx_vectors, BadData, "expected images of shape"),
    (npz_objects, BadData, "not an .npz of plain arrays"),
    (npz_misnamed, UnknownName, "images must be called x.*known: X"),
    (npz_damaged, BadData, "cannot read .*mine.npz"),
    (npz_label_count, BadData, r"labels have shape \(39,\)"),
    (npz_float_labels, BadData, "labels are float64, expected whole numbers"),
    (npz_negative_labels, BadData, "label -1 is negative"),
    (npz_nan, BadData, "hold NaN or infinity"),
    (npz_normalised, BadData, r"outside \[0, 1\]: give pixel_range="),
    (npz_ambiguous, BadData, "read as channels first or last"),
    (npz_five_channels, BadData, "with 1 or 3 channels"),
    (npz_empty, BadData, "has 0 images, too few"),
    (unknown_file, BadData, "not a kind of data that is read"),
]


@pytest.mark.parametrize(("make", "error", "message"), CASES, ids=[c[0].__name__ for c in CASES])
def test_bad_data_is_one_clear_line(
    tmp_path: Path, make: Callable[[Path], str], error: type[BadInput], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        load_data(make(tmp_path))
    assert "\n" not in str(caught.value)


FACTORIES = {
    "def make():\n    return 1 / 0": r"failed: ZeroDivisionError: division by zero",
    "def make():\n    return 'images'": "gave a str: return tensors or numpy arrays",
    "def make():\n    return 1, 2, 3": r"gave 3 values: return x or \(x, y\)",
    "def make():\n    return None": "gave None for the images",
    "def make():\n    return [[1], [1, 2]]": "inhomogeneous",
    "make = 3": "is a int: name a function",
    "import nonesuch_library": "needs 'nonesuch_library', which is not installed",
    "raise SystemExit(3)": "importing 'own_.*' failed: SystemExit: 3",
    "def make(:": "importing 'own_.*' failed: SyntaxError",
}


@pytest.mark.parametrize(("number", "code"), list(enumerate(FACTORIES)))
def test_bad_factories_are_one_clear_line(workplace: Path, number: int, code: str) -> None:
    (workplace / f"own_bad_data{number}.py").write_text(code)
    with pytest.raises(BadData, match=FACTORIES[code]) as caught:
        load_data(f"own_bad_data{number}:make")
    assert "\n" not in str(caught.value)


def test_a_missing_module_and_a_misspelt_factory(workplace: Path) -> None:
    (workplace / "own_spelling.py").write_text("def images():\n    pass\n")
    with pytest.raises(BadData, match="no module 'own_spellin' in"):
        load_data("own_spellin:images")
    with pytest.raises(UnknownName, match="did you mean images"):
        load_data("own_spelling:imags")


def test_labels_beyond_the_class_names(tmp_path: Path) -> None:
    source = npz(tmp_path, x=random_bytes(40, 4, 4), y=np.arange(40) % 4)
    with pytest.raises(BadData, match="label 3 is out of range for 2 class names"):
        load_data(source, classes=["a", "b"])


def test_an_unexpected_class_folder(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="'dog'"):
        load_data(str(class_folder(tmp_path)), classes=["cat", "emu"])


def test_auxiliary_images_of_another_shape(tmp_path: Path) -> None:
    np.savez(tmp_path / "public.npz", x=random_bytes(40, 5, 5))
    source = npz(tmp_path, x=random_bytes(40, 4, 4))
    with pytest.raises(BadData, match=r"auxiliary images are \(1, 5, 5\) and private ones"):
        load_data(source, auxiliary=str(tmp_path / "public.npz"))


def test_splits_too_small_to_tell_anything() -> None:
    with pytest.raises(BadPlan, match="test must hold at least 8 images, got 2"):
        SplitSizes(test=2)


def test_labels_and_images_must_agree() -> None:
    with pytest.raises(BadData, match="3 labels for 4 images"):
        LabelledImages(torch.zeros(4, 1, 2, 2), torch.zeros(3).long())


def test_pictures_that_would_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitveil.data.folder._MOST_BYTES", 1000)
    with pytest.raises(BadData, match=r"shape \(3, 8, 8\) take .* give a smaller size="):
        load_data(str(class_folder(tmp_path)))
