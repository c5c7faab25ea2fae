"""Labelled images to train on, with some held out to stop by and some to watch."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from splitveil.data.division import divide
from splitveil.data.fashion_mnist import CLASS_NAMES, read_training
from splitveil.data.load import class_names_of, open_source, read_rows
from splitveil.data.pixels import Fit, PixelPlan
from splitveil.data.types import LabelledImages
from splitveil.errors import BadData, BadPlan
from splitveil.naming import is_reference
from splitveil.rng import Rng

NAMES = ("fashion-mnist",)
_OFFICIAL = "Fashion-MNIST, training images 0-49,999"
_LEAST = 40
_VALIDATION, _PROBE = 5000, 1000
_DEFAULT_RNG = Rng(0)


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingImages:
    """Disjoint labelled images: `train`, `validation` to stop by, `probe` to measure features on.

    Raises:
        BadData: if a part is empty, has no labels, or images of another shape than the rest.
    """

    name: str
    train: LabelledImages
    validation: LabelledImages
    probe: LabelledImages
    class_names: tuple[str, ...] = ()
    conversions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shapes = {tuple(part.x.shape[1:]) for part in self.parts}
        if not all(len(part) for part in self.parts) or len(shapes) > 1:
            raise BadData(f"training needs images of one shape in every part, got {sorted(shapes)}")
        if any(part.y is None for part in self.parts):
            raise BadData("training needs labels: give one subfolder a class, or an .npz with y")

    @property
    def parts(self) -> tuple[LabelledImages, LabelledImages, LabelledImages]:
        """Train, validation, probe."""
        return self.train, self.validation, self.probe

    @cached_property
    def digest(self) -> str:
        """SHA-256, 64 hexadecimal digits, over pixels, labels and order of all parts."""
        total = hashlib.sha256()
        for part in self.parts:
            total.update(repr(tuple(part.x.shape)).encode())
            total.update(part.x.contiguous().numpy().tobytes())
            if part.y is not None:
                total.update(part.y.contiguous().numpy().tobytes())
        return total.hexdigest()


def load_training(
    source: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    fit: Fit | None = None,
    classes: Sequence[str] | None = None,
    images: int | None = None,
    rng: Rng = _DEFAULT_RNG,
) -> TrainingImages:
    """Read labelled images to train on; a tenth each is held out for validation and probe.

    Validation holds at most 5,000 images and the probe at most 1,000. All parts have the classes in
    the proportion of the source.

    Args:
        source: "fashion-mnist" for the installed official training images 0-49,999, which no audit
            of that data attacks; or a user's own, as `load_data` takes it. Own images that are
            also audited make an audit of training images: keep the two apart.
        size: height and width to convert to; None keeps what is stored.
        channels: 1 or 3 to convert to grey or RGB; None keeps what is stored.
        fit: "bilinear" or "pad"; None is "pad" for Fashion-MNIST and "bilinear" for the rest.
        classes: class names in the order of the labels; for class subfolders, their order.
        images: the most images to use in all.
        rng: the stream that draws the division.

    Raises:
        BadData: one line with what is wrong and what to do.
        BadPlan: if a setting makes no sense.
        UnknownName: if `source` is neither a name nor a path that exists.
    """
    ours = source in NAMES
    plan = PixelPlan(size=size, channels=channels, fit=fit or ("pad" if ours else "bilinear"))
    whole = read_training() if ours else open_source(source, classes)
    names = CLASS_NAMES if ours else class_names_of(whole, classes, source)
    if whole.labels is None:
        raise BadData(f"{source} has no labels: training needs a class for every image")
    if images is not None and images < _LEAST:
        raise BadPlan(f"training needs at least {_LEAST} images, got images={images}")
    count = min(len(whole), images or len(whole))
    if count < _LEAST:
        raise BadData(f"{source} has {count} images: training needs at least {_LEAST}")
    counts = {"validation": min(_VALIDATION, count // 10), "probe": min(_PROBE, count // 10)}
    counts["train"] = count - sum(counts.values())
    rows = divide(whole.labels, counts, len(whole), rng.child("training division"))
    parts, notes = {}, dict[str, None]()
    for part, chosen in rows.items():
        parts[part], sentences = read_rows(whole, np.sort(chosen), plan, source)
        notes.update(dict.fromkeys(sentences))
    if count < len(whole):
        notes[f"{count:,} of {len(whole):,} images are used, drawn at random."] = None
    return TrainingImages(
        name=_OFFICIAL if ours else source if is_reference(source) else Path(source).name,
        **parts,
        class_names=names,
        conversions=tuple(notes),
    )
