"""Images to train on, to choose strengths by, and to attack, of four kinds."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from splitveil.data import LabelledImages, TrainingImages
from splitveil.data.pixels import Fit, to_channels
from splitveil.reproduce.gpz.sources import CATEGORIES, parts_of, source

ATTACKED = 1000


@dataclass(frozen=True, eq=False, kw_only=True)
class Kind:
    """What one kind of images is: its parts, and the passes that make about 250 steps."""

    counts: Mapping[str, int]
    classes: int
    epochs: int
    resize: bool = False


KINDS = {
    "fashion-mnist": Kind(
        counts={"train": 3200, "choosing": 2000, "auxiliary": 1500, "picking": 500, "test": 4000},
        classes=10,
        epochs=10,
    ),
    "mnist": Kind(
        counts={"train": 2000, "choosing": 800, "auxiliary": 1000, "picking": 300, "test": 900},
        classes=10,
        epochs=16,
    ),
    "emoji": Kind(
        counts={"train": 800, "choosing": 300, "auxiliary": 400, "picking": 70, "test": 300},
        classes=len(CATEGORIES),
        epochs=40,
        resize=True,
    ),
    "faces": Kind(
        counts={"train": 2000, "choosing": 800, "auxiliary": 900, "picking": 200, "test": 700},
        classes=8,
        epochs=16,
        resize=True,
    ),
}
_OFFICIAL = {"auxiliary": "auxiliary", "picking": "validation", "test": "test"}


@dataclass(frozen=True, eq=False, kw_only=True)
class Images:
    """Disjoint labelled images, 32x32.

    `training` holds those the networks learn from; `choosing` decide strengths and measure rates;
    `auxiliary` are the attacker's, `picking` choose the better attack; on all of `test` accuracy is
    measured, and the first `ATTACKED` of them are attacked.
    """

    training: TrainingImages
    choosing: LabelledImages
    auxiliary: LabelledImages
    picking: LabelledImages
    test: LabelledImages
    kind: Kind

    def in_grey(self) -> "Images":
        """The same images with one channel, divided alike."""
        own = {
            name: _grey(getattr(self, name))
            for name in ("choosing", "auxiliary", "picking", "test")
        }
        train, held = _grey(self.training.train), own["picking"]
        training = replace(self.training, train=train, validation=held, probe=held)
        return Images(training=training, kind=self.kind, **own)


def _grey(images: LabelledImages) -> LabelledImages:
    return replace(images, x=to_channels(images.x, 1)[0])


@cache
def images_of(data: str, folder: Path) -> Images:
    """Images of one kind, always divided alike.

    Raises:
        BadData: if a source is missing, with the command that gets it.
        UnknownName: if there is no such kind.
    """
    raw = source(data, folder)
    kind = KINDS[data]
    fit: Fit = "bilinear" if kind.resize else "pad"
    parts: dict[str, LabelledImages] = {}
    for name in raw:
        asked = {part: n for part, n in kind.counts.items() if _home(part, raw) == name}
        parts |= parts_of(raw[name], asked, fit) if asked else {}
    names = tuple(str(label) for label in range(kind.classes))
    # nothing is chosen by these inside training: its last weights are kept
    held = parts["picking"]
    return Images(
        training=TrainingImages(
            name=data, train=parts["train"], validation=held, probe=held, class_names=names
        ),
        choosing=parts["choosing"],
        auxiliary=parts["auxiliary"],
        picking=parts["picking"],
        test=parts["test"],
        kind=kind,
    )


def _home(part: str, raw: Mapping[str, object]) -> str:
    """The source's part that a part is drawn from."""
    return "all" if "all" in raw else _OFFICIAL.get(part, "train")
