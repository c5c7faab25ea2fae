"""The one door for data: a name, a path or a factory becomes three splits of images in [0, 1]."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from splitveil.data.arrays import call_factory, find_idx, is_idx, read_idx_pair, read_npz
from splitveil.data.division import SplitSizes, divide
from splitveil.data.duplicates import find_duplicates
from splitveil.data.fashion_mnist import CLASS_NAMES, LICENCE, read_bundled, read_installed
from splitveil.data.folder import PictureFolder, find_pictures
from splitveil.data.pixels import Fit, PixelPlan, RawImages
from splitveil.data.types import LabelledImages, Splits
from splitveil.errors import BadData, UnknownName
from splitveil.naming import is_reference
from splitveil.rng import Rng

_TITLES = {"demo": "Fashion-MNIST, bundled subset", "fashion-mnist": "Fashion-MNIST"}
NAMES = tuple(_TITLES)
_DEMO_SIZE = 32
_DEFAULT_RNG = Rng(0)


def load_data(
    source: str | None,
    *,
    auxiliary: str | None = None,
    size: int | None = None,
    channels: int | None = None,
    fit: Fit | None = None,
    pixel_range: tuple[float, float] | None = None,
    classes: Sequence[str] | None = None,
    limits: SplitSizes | None = None,
    rng: Rng = _DEFAULT_RNG,
) -> Splits:
    """Read images and divide them into auxiliary, validation and test.

    >>> data = load_data(None)
    >>> len(data.auxiliary), len(data.validation), len(data.test), data.size
    (2000, 500, 1000, (32, 32))

    Args:
        source: None or "demo" for the bundled subset of Fashion-MNIST (28x28 padded to 32x32
            unless `size` says otherwise), "fashion-mnist" for the installed whole, or a user's own:
            a folder of pictures (one subfolder a class, or flat and unlabelled), an IDX images
            file or the folder that holds it, an .npz with arrays x and y, or
            `package.module:factory`, which is executed and returns x or (x, y).
        auxiliary: a second source for the attacker's images; without it they are taken from
            `source`, disjoint from validation and test.
        size: height and width to convert to; None keeps what is stored.
        channels: 1 or 3 to convert to grey or RGB; None keeps what is stored.
        fit: "bilinear" or "pad"; None is "pad" for Fashion-MNIST and "bilinear" for the rest.
        pixel_range: stored values that mean black and white, where that is not 0 to 255 in bytes
            or 0 to 1 in floating point.
        classes: class names in the order of the labels; for class subfolders, their order.
        limits: the most images for each split; None is 2,000, 500 and 1,000, and all of
            Fashion-MNIST.
        rng: the stream that draws the division.

    Raises:
        BadData: one line with what is wrong and what to do.
        BadPlan: if a setting makes no sense.
        UnknownName: if `source` is neither a name nor a path that exists.
    """
    name = "demo" if source is None else source
    ours = name in NAMES
    if name == "demo" and size is None:
        size = _DEMO_SIZE
    plan = PixelPlan(
        size=size,
        channels=channels,
        fit=fit or ("pad" if ours else "bilinear"),
        pixel_range=pixel_range,
    )
    if ours:
        raw: dict[str, RawImages | PictureFolder] = {
            **(read_bundled() if name == "demo" else read_installed())
        }
        rows = {
            split: np.arange(len(part))
            if limits is None
            else _some(part, getattr(limits, split), rng.child("limit", split))
            for split, part in raw.items()
        }
        class_names = tuple(classes or CLASS_NAMES)
        if len(class_names) != len(CLASS_NAMES):
            raise BadData(f"{name} has {len(CLASS_NAMES)} classes, got {len(class_names)} names")
    else:
        whole = open_source(name, classes)
        class_names = class_names_of(whole, classes, name)
        splits = ("test", "validation") if auxiliary else ("test", "validation", "auxiliary")
        counts = (limits or SplitSizes()).share(len(whole), splits, name)
        rows = divide(whole.labels, counts, len(whole), rng.child("division"))
        raw = dict.fromkeys(splits, whole)
    if auxiliary is not None:
        other = open_source(auxiliary, class_names or None)
        class_names = class_names_of(other, class_names or None, auxiliary) or class_names
        count = (limits or SplitSizes()).share(len(other), ("auxiliary",), auxiliary)["auxiliary"]
        raw["auxiliary"] = other
        rows["auxiliary"] = _some(other, count, rng.child("auxiliary"))
    return _assemble(name, auxiliary, raw, rows, plan, class_names)


def _assemble(
    name: str,
    auxiliary: str | None,
    raw: dict[str, RawImages | PictureFolder],
    rows: dict[str, NDArray[np.int64]],
    plan: PixelPlan,
    class_names: tuple[str, ...],
) -> Splits:
    images: dict[str, LabelledImages] = {}
    notes: dict[str, None] = {}
    for split in ("auxiliary", "validation", "test"):
        where = auxiliary if split == "auxiliary" and auxiliary else name
        images[split], sentences = read_rows(raw[split], rows[split], plan, where)
        notes.update(dict.fromkeys(sentences))
    shapes = {split: tuple(part.x.shape[1:]) for split, part in images.items()}
    if len(set(shapes.values())) > 1:
        raise BadData(
            f"auxiliary images are {shapes['auxiliary']} and private ones {shapes['test']}: give "
            "size= and channels= to convert them"
        )
    used = sum(map(len, rows.values()))
    available = sum(len(part) for part in {id(part): part for part in raw.values()}.values())
    if used < available:
        notes[f"{used:,} of {available:,} images are used, drawn at random."] = None
    ours = name in NAMES
    return Splits(
        name=_TITLES.get(name) or (name if is_reference(name) else Path(name).name),
        licence=LICENCE if ours else "the user's own",
        **images,
        class_names=class_names,
        conversions=tuple(notes),
        duplicates=find_duplicates({split: part.x for split, part in images.items()}),
    )


def open_source(source: str, classes: Sequence[str] | None) -> RawImages | PictureFolder:
    """A user's source, pictures not yet decoded."""
    path = Path(source).expanduser()
    if path.is_dir():
        idx = find_idx(path)
        return read_idx_pair(idx) if idx else find_pictures(path, classes)
    if path.is_file():
        if path.suffix == ".npz":
            return read_npz(path)
        if is_idx(path):
            return read_idx_pair(path)
        raise BadData(
            f"{path} is not a kind of data that is read: give a folder of pictures, an IDX images "
            "file, an .npz, or package.module:factory"
        )
    if is_reference(source):
        return call_factory(source)
    if "/" in source or "\\" in source or path.suffix:
        raise BadData(f"{source} does not exist: check the path (working folder {Path.cwd()})")
    raise UnknownName("data (no such name, file or folder)", source, NAMES)


def class_names_of(
    whole: RawImages | PictureFolder, classes: Sequence[str] | None, where: str
) -> tuple[str, ...]:
    """Names of the classes of a user's source in the order of its labels; empty without labels."""
    if isinstance(whole, PictureFolder) or whole.labels is None:
        return whole.class_names if isinstance(whole, PictureFolder) else tuple(classes or ())
    largest = int(whole.labels.max(initial=-1))
    if classes is None:
        return tuple(str(label) for label in range(largest + 1))
    if largest >= len(classes):
        raise BadData(
            f"{where}: label {largest} is out of range for {len(classes)} class names (0 to "
            f"{len(classes) - 1}): mend the labels or name every class"
        )
    return tuple(classes)


def _some(part: RawImages | PictureFolder, limit: int, rng: Rng) -> NDArray[np.int64]:
    count = min(limit, len(part))
    return divide(part.labels, {"part": count}, len(part), rng)["part"]


def read_rows(
    part: RawImages | PictureFolder, rows: NDArray[np.int64], plan: PixelPlan, where: str
) -> tuple[LabelledImages, tuple[str, ...]]:
    """The images at `rows` of a source in [0, 1], and a sentence for each conversion made."""
    if isinstance(part, PictureFolder):
        x, notes = part.read(rows, plan)
        ids = rows
    else:
        taken = part.take(rows)
        x, notes = plan.apply(taken.pixels, where)
        ids = taken.index
    y = None if part.labels is None else torch.from_numpy(part.labels[rows])
    return LabelledImages(x, y, torch.from_numpy(ids.astype(np.int64))), notes
