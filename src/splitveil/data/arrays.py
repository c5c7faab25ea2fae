"""Images that arrive as arrays: IDX files, .npz files, and Python factories."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from splitveil.data.idx import read_idx
from splitveil.data.pixels import RawImages, channels_last
from splitveil.errors import BadData, UnknownName
from splitveil.naming import one_line, resolve
from splitveil.rng import Rng


def is_idx(path: Path) -> bool:
    """Whether a file's name is that of an IDX file."""
    name = path.name.removesuffix(".gz")
    return name.endswith(("-ubyte", ".idx")) or "idx3" in name


def find_idx(folder: Path) -> Path | None:
    """The one IDX images file in `folder`, or None if it holds none.

    Raises:
        BadData: if it holds several.
    """
    found = sorted(path for path in folder.iterdir() if is_idx(path) and "images" in path.name)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise BadData(f"{folder} holds {len(found)} IDX image files ({names}): name one of them")
    return found[0] if found else None


def read_idx_pair(images: Path) -> RawImages:
    """An IDX images file with the labels found beside it, if any.

    For `train-images-idx3-ubyte.gz` the labels are `train-labels-idx1-ubyte`, gzipped or not.

    Raises:
        BadData: if a file is damaged, or labels and images differ in number.
    """
    pixels = channels_last(read_idx(images), str(images))
    name = images.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    for candidate in (images.with_name(name), images.with_name(f"{name}.gz")):
        if candidate != images and candidate.is_file():
            return labelled(pixels, read_idx(candidate), str(candidate))
    return labelled(pixels, None, str(images))


def read_npz(path: Path) -> RawImages:
    """Arrays `x` and, if there, `y` of an .npz file; nothing is unpickled.

    Raises:
        BadData: if the file is damaged or holds Python objects.
        UnknownName: if it has no array `x`.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            if "x" not in stored.files:
                raise UnknownName(f"array in {path} (images must be called x)", "x", stored.files)
            pixels = stored["x"]
            labels = stored["y"] if "y" in stored.files else None
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise BadData(f"cannot read {path}: {one_line(error)}") from error
    except UnknownName:
        raise
    except (ValueError, AttributeError) as error:
        raise BadData(
            f"{path} is not an .npz of plain arrays ({one_line(error)}): save images as x and "
            "labels as y with numpy.savez"
        ) from error
    return labelled(channels_last(pixels, f"{path}, array x"), labels, str(path))


def call_factory(reference: str) -> RawImages:
    """Images, or (images, labels), from the Python callable `package.module:factory`.

    This runs code of that module: only name code that you trust. It runs under a fixed torch seed,
    so that what it draws from torch's global generator is the same every time.

    Raises:
        BadData: if it cannot be imported, fails, or returns something else.
    """
    seed = Rng(0, ("data factory", reference))
    with seed.as_global():
        factory = resolve(reference, what="data", error=BadData)
    if not callable(factory):
        raise BadData(f"data '{reference}' is a {type(factory).__name__}: name a function")
    try:
        with seed.as_global():
            result = factory()
    except Exception as failure:
        raise BadData(f"data factory {reference}() failed: {one_line(failure)}") from failure
    pair = result if isinstance(result, tuple) else (result, None)
    if len(pair) != 2:
        raise BadData(f"data factory {reference}() gave {len(pair)} values: return x or (x, y)")
    pixels, labels = (_array(value, reference) for value in pair)
    if pixels is None:
        raise BadData(f"data factory {reference}() gave None for the images: return x or (x, y)")
    return labelled(channels_last(pixels, reference), labels, reference)


def _array(value: Any, reference: str) -> NDArray[Any] | None:
    if value is None or isinstance(value, np.ndarray):
        return value
    if isinstance(value, torch.Tensor):
        if value.dtype in (torch.bfloat16, torch.float16):
            value = value.float()
        return value.detach().cpu().numpy()
    if isinstance(value, (list, range)):
        try:
            return np.asarray(value)
        except ValueError as error:
            raise BadData(f"data factory {reference}(): {one_line(error)}") from error
    raise BadData(
        f"data factory {reference}() gave a {type(value).__name__}: return tensors or numpy arrays"
    )


def labelled(pixels: NDArray[Any], labels: NDArray[Any] | None, where: str) -> RawImages:
    """Pixels (n, h, w, c) with checked labels and positions counted from zero.

    Raises:
        BadData: if labels are not one whole number an image, or a number is negative.
    """
    index = np.arange(len(pixels))
    if labels is None:
        return RawImages(pixels, None, index)
    if labels.shape != (len(pixels),):
        raise BadData(
            f"{where}: labels have shape {labels.shape}, expected ({len(pixels)},): one for each "
            "image"
        )
    if labels.dtype.kind not in "ui":
        raise BadData(f"{where}: labels are {labels.dtype}, expected whole numbers from 0")
    if len(labels) and labels.min() < 0:
        raise BadData(f"{where}: label {labels.min()} is negative: number classes from 0")
    return RawImages(pixels, labels.astype(np.int64), index)
