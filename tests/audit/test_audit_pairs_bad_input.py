from collections.abc import Callable
from pathlib import Path

import audit_pairs_toys as toys
import numpy as np
import pytest

from splitveil.audit.pairs.case import read_case
from splitveil.errors import BadData, BadInput

Change = Callable[[toys.Arrays], None]


def put(name: str, make: Callable[[np.ndarray], np.ndarray]) -> Change:
    def change(arrays: toys.Arrays) -> None:
        arrays[name] = make(arrays[name])

    return change


def hole(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array[3] = np.nan
    return array


BAD: list[tuple[str, Change, str]] = [
    ("z of another cut", put("z", lambda z: z[:, :2]), r"sent at the same cut"),
    ("x of another size", put("x", lambda x: x[:, :, :6, :6]), r"same size and channels"),
    ("fewer x than z", put("x", lambda x: x[:-1]), r"holds 30 z, 29 x, 30 y"),
    ("fewer labels", put("y", lambda y: y[:-1]), r"30 z, 30 x, 29 y"),
    ("NaN in z", put("z", hole), r"z of 1 of 30 pairs holds NaN"),
    ("NaN in x", put("x", hole), r"1 of 30 images hold NaN"),
    ("constant z", put("z", np.ones_like), r"z is the same in every pair"),
    ("constant x", put("x", lambda x: 0 * x + 0.5), r"x is the same in every pair"),
    ("above 1", put("x", lambda x: 2 * x), r"outside \[0, 1\]: give pixel_range"),
    ("five channels", put("x", lambda x: x.repeat(5, 1)), r"1 or 3 channels, got \(30, 5, 8, 8\)"),
    ("objects", put("z", lambda z: z.astype(object)), r"Object arrays cannot be loaded"),
    ("text", put("z", lambda z: z.astype(str)), r"expected numbers in z, got <U"),
    ("complex", put("z", lambda z: z.astype(complex)), r"expected numbers in z, got complex"),
    ("too large", put("z", lambda z: z * 1e300 * 1.0), r"exceeds what float32 holds"),
    ("flat z", put("z", lambda z: z[:, 0, 0, 0]), r"expected z of shape \(n, ...\)"),
    ("negative label", put("y", lambda y: y - 1), r"label -1 is negative"),
    ("half labels", put("y", lambda y: y + 0.5), r"expected whole numbers from 0"),
]


@pytest.mark.parametrize(("change", "message"), [c[1:] for c in BAD], ids=[c[0] for c in BAD])
def test_bad_arrays_meet_one_line(tmp_path: Path, change: Change, message: str) -> None:
    private = toys.pairs(30, 2)
    if message.startswith("exceeds"):
        private["z"] = private["z"].astype(np.float64)
    change(private)
    with pytest.raises(BadData, match=message) as caught:
        read_case(toys.files(tmp_path, toys.pairs(30, 1), private), pixel_range=None, seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "message"), [("z", "'z'"), ("x", "holds no inputs x")])
def test_missing_arrays(tmp_path: Path, name: str, message: str) -> None:
    private = toys.pairs(30, 2)
    del private[name]
    with pytest.raises(BadInput, match=message):
        read_case(toys.files(tmp_path, None, private), pixel_range=None, seed=0)


@pytest.mark.parametrize(("own", "private"), [(1, 30), (15, 30), (30, 1), (30, 11)])
def test_too_few_pairs(tmp_path: Path, own: int, private: int) -> None:
    few = toys.files(tmp_path, toys.pairs(own, 1), toys.pairs(private, 2))
    with pytest.raises(BadData, match=r"too few|same in every pair"):
        read_case(few, pixel_range=None, seed=0)


def test_the_attacker_must_not_own_the_private_images(tmp_path: Path) -> None:
    private = toys.pairs(30, 2)
    own = {k: np.concatenate([v, private[k][4:6]]) for k, v in toys.pairs(30, 1).items()}
    with pytest.raises(BadData, match=r"2 inputs of .*target.npz are in .*such as number 4"):
        read_case(toys.files(tmp_path, own, private), pixel_range=None, seed=0)
    path = toys.save(tmp_path / "one.npz", private)
    with pytest.raises(BadData, match="given twice"):
        read_case([path, path], pixel_range=None, seed=0)


def test_near_duplicates_are_reported(tmp_path: Path) -> None:
    private = toys.pairs(30, 2)
    own = toys.pairs(30, 1)
    own["x"][0] = np.clip(private["x"][0] + 0.001, 0, 1)
    case = read_case(toys.files(tmp_path, own, private), pixel_range=None, seed=0)
    counts = case.duplicates["counts"]
    assert counts["auxiliary-test"] + counts["auxiliary-validation"] >= 1


def test_labels_of_one_file_only_are_not_used(tmp_path: Path) -> None:
    own = toys.pairs(30, 1)
    del own["y"]
    case = read_case(toys.files(tmp_path, own, toys.pairs(30, 2)), pixel_range=None, seed=0)
    assert not case.labelled
    assert any("one of the two files" in text for text in case.conversions)


@pytest.mark.parametrize("end", ["npz", "safetensors", "txt", "missing"])
def test_damaged_missing_and_foreign_files(tmp_path: Path, end: str) -> None:
    own, private = toys.files(tmp_path, toys.pairs(30, 1), toys.pairs(30, 2))
    whole = Path(private).read_bytes()
    bad = tmp_path / ("gone.npz" if end == "missing" else f"bad.{end}")
    if end != "missing":
        bad.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadData, match=r"cannot read|ends in \.npz or \.safetensors"):
        read_case([own, str(bad)], pixel_range=None, seed=0)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    own, _ = toys.files(tmp_path)
    bad = tmp_path / "bad.npz"
    np.save(tmp_path / "array.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    bad.write_bytes((tmp_path / "array.npy").read_bytes())
    with pytest.raises(BadData, match=r"not an \.npz of plain arrays"):
        read_case([own, str(bad)], pixel_range=None, seed=0)


def test_stored_range(tmp_path: Path) -> None:
    own, private = toys.pairs(30, 1), toys.pairs(30, 2)
    plain = read_case(toys.files(tmp_path, own, private), pixel_range=None, seed=0)
    for part in (own, private):
        part["x"] = 2 * part["x"] - 1
    moved = read_case(toys.files(tmp_path, own, private), pixel_range=(-1.0, 1.0), seed=0)
    np.testing.assert_allclose(moved.test.x.numpy(), plain.test.x.numpy(), atol=1e-6)
