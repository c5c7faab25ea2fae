"""Reads files of pairs: what was sent, z, the input x it came from, and perhaps its label y."""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch import Tensor

from splitveil.data.arrays import labelled
from splitveil.data.pixels import channels_last, to_unit
from splitveil.errors import BadData, UnknownName
from splitveil.naming import one_line

_ENDS = (".npz", ".safetensors")


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs x, images (n, c, h, w) in [0, 1] or vectors (n, d); z (n, f) sent for each; labels."""

    x: Tensor
    z: Tensor
    y: Tensor | None

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.x)

    @property
    def is_image(self) -> bool:
        """Whether x are images."""
        return self.x.ndim == 4

    def take(self, places: Tensor) -> "Examples":
        """The pairs at `places`, in that order."""
        return Examples(self.x[places], self.z[places], None if self.y is None else self.y[places])

    def to(self, place: torch.device) -> "Examples":
        """The same on another device."""
        y = None if self.y is None else self.y.to(place)
        return Examples(self.x.to(place), self.z.to(place), y)


def read_arrays(
    path: Path, wanted: tuple[str, ...], *, names: tuple[str, ...] = ("z", "x", "y")
) -> dict[str, NDArray[Any]]:
    """The arrays of some names that a file holds; nothing is unpickled.

    Args:
        path: .npz or .safetensors.
        wanted: those it must hold.
        names: those that are given back where they are there.

    Raises:
        BadData: if the file is missing, damaged, of another kind or holds Python objects.
        UnknownName: if it lacks one that is wanted.
    """
    if path.suffix not in _ENDS:
        raise BadData(f"{path}: expected a file that ends in {' or '.join(_ENDS)}")
    found = _npz(path) if path.suffix == ".npz" else _safetensors(path)
    for name in wanted:
        if name not in found:
            raise UnknownName(f"array in {path} (it needs {', '.join(wanted)})", name, found)
    return {name: found[name] for name in names if name in found}


def _npz(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            if isinstance(stored, np.ndarray):
                raise BadData(f"{path} holds one array without a name: save z and x with savez")
            return {name: stored[name] for name in stored.files}
    except BadData:
        raise
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BadData(f"cannot read {path}: {one_line(error)}") from error
    except (ValueError, AttributeError) as error:
        raise BadData(
            f"{path} is not an .npz of plain arrays ({one_line(error)}): save z, x and perhaps y "
            "with numpy.savez"
        ) from error


def _safetensors(path: Path) -> dict[str, NDArray[Any]]:
    try:
        return {name: value for name, value in load_file(path).items()}
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise BadData(f"cannot read {path}: {one_line(error)}") from error


def digest_of(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over names, types, shapes and bytes, whatever file they lie in."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(json.dumps([name, array.dtype.str, list(array.shape)]).encode())
        total.update(array.tobytes())
    return total.hexdigest()


def read_features(z: NDArray[Any], where: str) -> tuple[Tensor, tuple[int, ...], str]:
    """Features (n, f) in float32, the shape of one, and a sentence if their type changed.

    Raises:
        BadData: if they are no numbers, not finite, or there are none.
    """
    if z.ndim < 2 or not z.size:
        raise BadData(f"{where}: expected z of shape (n, ...), one row a pair, got {z.shape}")
    if z.dtype.kind not in "buif":
        raise BadData(f"{where}: expected numbers in z, got {z.dtype}")
    flat = z.reshape(len(z), -1)
    bad = int((~np.isfinite(flat)).any(1).sum()) if z.dtype.kind == "f" else 0
    if bad:
        raise BadData(f"{where}: z of {bad} of {len(z)} pairs holds NaN or infinity: remove them")
    note = "" if z.dtype == np.float32 else f"Features were read as float32 from {z.dtype}."
    found = _float32(flat)
    if not torch.isfinite(found).all():
        raise BadData(f"{where}: z exceeds what float32 holds: rescale it")
    return found, tuple(z.shape[1:]), note


def _float32(array: NDArray[Any]) -> Tensor:
    with np.errstate(over="ignore"):  # what becomes infinite is refused by its name
        return torch.from_numpy(np.ascontiguousarray(array, np.float32))


def read_inputs(
    x: NDArray[Any], pixel_range: tuple[float, float] | None, where: str
) -> tuple[Tensor, str]:
    """Images (n, c, h, w) in [0, 1], or vectors (n, d) as they are, and what was done to them.

    Raises:
        BadData: if the shape can be read as neither, or values are not finite or out of range.
    """
    if x.ndim != 2:
        return to_unit(channels_last(x, f"{where}, array x"), pixel_range, f"{where}, array x")
    if x.dtype.kind not in "buif":
        raise BadData(f"{where}: expected numbers in x, got {x.dtype}")
    if pixel_range is not None:
        raise BadData(f"{where}: x of shape {x.shape} are vectors: leave out pixel_range")
    found = _float32(x)
    bad = int((~torch.isfinite(found)).any(1).sum())
    if bad or not found.shape[1]:
        raise BadData(
            f"{where}: x of {bad} of {len(x)} pairs holds NaN or infinity, or nothing: remove them"
        )
    return found, ""


def read_labels(y: NDArray[Any] | None, count: int, where: str) -> Tensor | None:
    """Labels (n,) from 0, or None.

    Raises:
        BadData: if they are not one whole number a pair, or one is negative.
    """
    found = labelled(np.empty((count, 0)), y, where).labels
    return None if found is None else torch.from_numpy(found)


def same_count(arrays: Mapping[str, NDArray[Any]], where: str) -> None:
    """Refuse arrays of different lengths.

    Raises:
        BadData: naming them.
    """
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise BadData(f"{where} holds {listed}: give one row of each for every pair")
