"""Images and tasks for the experiments on malicious networks; nothing is fetched.

Fashion-MNIST, MNIST, emoji and cartoon faces as `splitveil.reproduce.gpz.sources` says; digits come
with scikit-learn. Faces with attributes and persons are drawn into the same folder `sources`:

    node scripts/cartoon_attributes.mjs FOLDER_WITH_FACESJS 3600 3 > attributes.jsonl
    node scripts/cartoon_identities.mjs FOLDER_WITH_FACESJS 32 112 4 > identities.jsonl
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import avg_pool2d, pad

from splitveil.data import LabelledImages
from splitveil.errors import BadData, UnknownName
from splitveil.estimators import Whitening
from splitveil.malicious import MultiAttribute, MultiClass, Task
from splitveil.reproduce.gpz.sources import CATEGORIES, drawn_face, needed, parts_of, source
from splitveil.rng import Rng
from splitveil.storage import write_whole

ATTRIBUTES = (
    "male",
    "dark skin",
    "hair behind",
    "wide face",
    "smile",
    "dark hair",
    "beard",
    "accessory",
    "large nose",
    "large ears",
    "lines at the eyes",
    "lines of a smile",
    "other lines",
    "glasses",
    "raised eyebrows",
    "slanting eyes",
    "hair to the left",
    "round ears",
    "broad body",
    "curls",
)
"""In the order in which they are added."""

PERSONS = 32
WHITENED = 2000
"""Training images that the whitening is fitted on, at most."""

_PADDING = 4
_RNG = Rng(0, ("vicious", "images"))


@dataclass(frozen=True, eq=False, kw_only=True)
class Pictures:
    """Three splits of one kind of images with the task their labels are for."""

    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages
    task: Task

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, rows, columns."""
        channels, rows, columns = self.train.x.shape[1:]
        return channels, rows, columns


def pictures_of(name: str, folder: Path, side: int = 32) -> Pictures:
    """Images by name, such as "mnist", "attributes-8" or "identities-4"; always divided alike.

    Of 32 x 32 pixels, digits of 16 x 16; larger ones than `side` are halved by means of 2 x 2.

    Raises:
        BadData: if a source is missing, with the command that gets it.
        UnknownName: if there are no such images.
    """
    kind, _, count = name.partition("-")
    if kind in _LABELLED and count.isdigit():
        found = _LABELLED[kind](folder, int(count))
    elif name in _PLAIN:
        found = _PLAIN[name](folder)
    else:
        raise UnknownName("images", name, [*_PLAIN, *(f"{kind}-8" for kind in _LABELLED)])
    if found.shape[1] <= side:
        return found
    return Pictures(
        train=_halved(found.train),
        validation=_halved(found.validation),
        test=_halved(found.test),
        task=found.task,
    )


@cache
def whitening_of(name: str, folder: Path, side: int = 32) -> Whitening:
    """Of the first 2,000 training images, 99 % of their variance; the same for every task."""
    kind, _, count = name.partition("-")
    if kind in _LABELLED and count != "1":
        return whitening_of(f"{kind}-1", folder, side)
    return Whitening.fit(pictures_of(name, folder, side).train.x[:WHITENED])


@cache
def _mnist(folder: Path) -> Pictures:
    counts = {"train": 3000, "validation": 500, "test": 1000}
    return _pictures(parts_of(source("mnist", folder)["all"], counts, "pad"), MultiClass(10))


@cache
def _fashion(folder: Path) -> Pictures:
    held = source("fashion-mnist", folder)
    parts = parts_of(held["train"], {"train": 3000, "validation": 500}, "pad")
    parts |= parts_of(held["test"], {"test": 1000}, "pad")
    return _pictures(parts, MultiClass(10))


@cache
def _digits(folder: Path) -> Pictures:
    data = needed("sklearn.datasets", "digits", "pip install scikit-learn").load_digits()
    x = torch.from_numpy(data.images).float()[:, None] / 16
    y = torch.from_numpy(data.target.astype(np.int64))
    whole = LabelledImages(pad(x, [_PADDING] * 4), y)
    return _pictures(_divided(whole, {"train": 1200, "validation": 197}), MultiClass(10))


@cache
def _emoji(folder: Path) -> Pictures:
    counts = {"train": 1200, "validation": 170, "test": 500}
    parts = parts_of(source("emoji", folder)["all"], counts, "bilinear")
    return _pictures(parts, MultiClass(len(CATEGORIES)))


@cache
def _faces(folder: Path) -> Pictures:
    counts = {"train": 3000, "validation": 500, "test": 1000}
    parts = parts_of(source("faces", folder)["all"], counts, "bilinear")
    return _pictures(parts, MultiClass(8))


def _attributes(folder: Path, count: int) -> Pictures:
    if not 1 <= count <= len(ATTRIBUTES):
        raise UnknownName(
            "number of attributes", str(count), [str(k + 1) for k in range(len(ATTRIBUTES))]
        )
    x, y = _drawn(folder.parent / "sources", "attributes")
    whole = LabelledImages(x, y[:, :count].contiguous())
    parts = _divided(whole, {"train": 2400, "validation": 400})
    return _pictures(parts, MultiAttribute(ATTRIBUTES[:count]))


def _identities(folder: Path, count: int) -> Pictures:
    """The same pictures of 32 persons whatever the count; a class is every `count`-th person."""
    if count < 1 or PERSONS % count:
        raise UnknownName("number of classes", str(count), ("2", "4", "8", "16", "32"))
    x, y = _drawn(folder.parent / "sources", "identities")
    parts = _divided(LabelledImages(x, y % count), {"train": 2400, "validation": 400})
    return _pictures(parts, MultiClass(max(2, count)))


_PLAIN: Mapping[str, Callable[[Path], Pictures]] = {
    "digits": _digits,
    "emoji": _emoji,
    "faces": _faces,
    "fashion-mnist": _fashion,
    "mnist": _mnist,
}
_LABELLED: Mapping[str, Callable[[Path, int], Pictures]] = {
    "attributes": _attributes,
    "identities": _identities,
}


def _pictures(parts: Mapping[str, LabelledImages], task: Task) -> Pictures:
    return Pictures(
        train=parts["train"], validation=parts["validation"], test=parts["test"], task=task
    )


def _divided(whole: LabelledImages, counts: Mapping[str, int]) -> dict[str, LabelledImages]:
    """A random division that is always the same; what is left over is the test split."""
    order = torch.randperm(len(whole), generator=_RNG.child("division").torch())
    ends = [0, *np.cumsum(list(counts.values())).tolist(), len(whole)]
    names = (*counts, "test")
    return {
        name: whole.take(order[start:end])
        for name, start, end in zip(names, ends[:-1], ends[1:], strict=True)
    }


@cache
def _drawn(sources: Path, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Drawings as images (n, 3, 32, 32) and their labels, kept as pixels once drawn."""
    kept, drawings = sources / f"{kind}.npz", sources / f"{kind}.jsonl"
    if not kept.is_file():
        if not drawings.is_file():
            raise BadData(
                f"no faces in {drawings}: draw them with scripts/cartoon_{kind}.mjs, as the module "
                "splitveil.reproduce.vicious.images says"
            )
        resvg = needed("resvg_py", "the faces", "pip install resvg_py")
        lines = [json.loads(line) for line in drawings.read_text(encoding="utf-8").splitlines()]
        pixels = np.stack([drawn_face(resvg, line["svg"]) for line in lines])
        labels = np.array([line.get("attributes", line.get("label")) for line in lines])
        stream = io.BytesIO()
        np.savez_compressed(stream, x=pixels, y=labels)
        write_whole(kept, stream.getvalue())
    with np.load(kept, allow_pickle=False) as stored:
        pixels, labels = stored["x"], stored["y"].astype(np.int64)
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return avg_pool2d(x, 2), torch.from_numpy(labels)


def _halved(images: LabelledImages) -> LabelledImages:
    return LabelledImages(avg_pool2d(images.x, 2), images.y, images.ids)
