"""A folder of pictures: one subfolder a class, or a flat folder without labels."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from splitveil.data.pixels import PixelPlan, uniform
from splitveil.errors import BadData, UnknownName
from splitveil.naming import one_line
from splitveil.shapes import Images

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
_SENTENCES = 6
_MOST_BYTES = 4 * 2**30


@dataclass(frozen=True, eq=False)
class PictureFolder:
    """Paths of pictures, not yet decoded, and their labels if they lie in class subfolders."""

    paths: tuple[Path, ...]
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.paths)

    def read(self, rows: NDArray[np.int64], plan: PixelPlan) -> tuple[Images, tuple[str, ...]]:
        """Decode the pictures at `rows` as images of one shape in [0, 1].

        Raises:
            BadData: naming a picture that cannot be decoded, if shapes differ and `plan` does not
                make them equal, or if they would fill the memory.
        """
        images: list[Tensor] = []
        notes: dict[str, None] = {}
        for row in rows:
            pixels, note = _decode(self.paths[row], plan.channels)
            image, sentences = plan.apply(pixels[None], str(self.paths[row]))
            if not images and 4 * image.numel() * len(rows) > _MOST_BYTES:
                raise BadData(
                    f"{len(rows)} pictures of shape {tuple(image.shape[1:])} take "
                    f"{4 * image.numel() * len(rows) / 2**30:.1f} GiB as numbers: give a smaller "
                    "size= or lower limits"
                )
            images.append(image)
            notes.update(dict.fromkeys((*((note,) if note else ()), *sentences)))
        uniform({tuple(image.shape[1:]) for image in images}, str(self.paths[0].parent))
        listed = tuple(notes)
        if len(listed) > _SENTENCES:
            more = f"Pictures of {len(listed) - _SENTENCES} further shapes were converted likewise."
            listed = (*listed[:_SENTENCES], more)
        return torch.cat(images), listed


def find_pictures(folder: Path, classes: Sequence[str] | None) -> PictureFolder:
    """List the pictures of `folder`, sorted by name; class subfolders become labels.

    Args:
        folder: holds either pictures, or one subfolder for each class.
        classes: names of the subfolders in the order of their labels; by default sorted.

    Raises:
        BadData: if there are no pictures, a class has none, or pictures lie beside class folders.
        UnknownName: if a subfolder is not among `classes`.
    """
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise BadData(f"cannot read {folder}: {error.strerror or error}") from error
    flat = _pictures(entries)
    subfolders = [path for path in entries if path.is_dir()]
    if not flat and not subfolders:
        suffixes = " ".join(sorted(SUFFIXES))
        raise BadData(f"{folder} holds no pictures: expected files with suffixes {suffixes}")
    if not subfolders:
        return PictureFolder(tuple(flat), None, tuple(classes or ()))
    if flat:
        raise BadData(
            f"{folder} holds pictures ({flat[0].name}) beside folders ({subfolders[0].name}): use "
            "either one subfolder a class, or a flat folder without labels"
        )
    names = tuple(classes or (path.name for path in subfolders))
    paths: list[Path] = []
    labels: list[int] = []
    for subfolder in subfolders:
        if subfolder.name not in names:
            raise UnknownName(f"class folder in {folder}", subfolder.name, names)
        inside = _pictures(sorted(subfolder.rglob("*")))
        if not inside:
            raise BadData(f"class folder {subfolder} holds no pictures: fill or remove it")
        paths += inside
        labels += [names.index(subfolder.name)] * len(inside)
    return PictureFolder(tuple(paths), np.array(labels, np.int64), names)


def _pictures(entries: Sequence[Path]) -> list[Path]:
    return [path for path in entries if path.suffix.lower() in SUFFIXES and path.is_file()]


def _decode(path: Path, channels: int | None) -> tuple[NDArray[np.uint8], str]:
    """One picture as (h, w, c) bytes, and a sentence if its colour mode was converted."""
    note = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                mode = image.mode
                if mode == "1":
                    decoded = image.convert("L")
                elif mode in ("L", "RGB"):
                    decoded = image.copy()
                elif mode.startswith(("I", "F")):
                    raise BadData(
                        f"{path} has pixels of mode {mode}, not bytes: save it with 8 bits a "
                        "channel, or give an .npz with pixel_range"
                    )
                elif channels is None:
                    raise BadData(
                        f"{path} has colour mode {mode}: give channels=3 or channels=1 to convert"
                    )
                else:
                    decoded = image.convert("RGB")
                    note = f"Pictures of colour mode {mode} were converted to RGB."
    except (
        OSError,
        SyntaxError,  # what Pillow raises on some broken PNG chunks
        ValueError,
        UnidentifiedImageError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        if isinstance(error, BadData):
            raise
        raise BadData(
            f"cannot read picture {path} ({one_line(error)}): mend or remove it"
        ) from error
    pixels = np.asarray(decoded, np.uint8)
    return pixels[..., None] if pixels.ndim == 2 else pixels, note
