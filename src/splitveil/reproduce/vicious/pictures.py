"""What a decoder sees: images, and what honest and vicious answers of a few numbers give away."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from splitveil.reproduce.experiment import Evidence, Experiment, Scale
from splitveil.reproduce.vicious.arms import Paired, Yardsticks
from splitveil.reproduce.vicious.claims import WORSE

SHOWN = ("mnist", "fashion-mnist", "faces")
_SIDE, _STEPS, _COLUMNS, _ZOOM, _LEFT = 32, 300, 8, 2, 130
_ROWS = ("image", "honest answer, decoded", "vicious answer, decoded")


def _arms(name: str) -> tuple[Yardsticks, Paired, Paired]:
    return (
        Yardsticks(images=name, side=_SIDE),
        Paired(images=name, weight=0, side=_SIDE, steps=_STEPS),
        Paired(images=name, side=_SIDE, steps=_STEPS),
    )


def shown(scale: Scale) -> Experiment:
    """The arms that the picture needs; they decide nothing."""
    arms = tuple(arm for name in SHOWN for arm in _arms(name))
    return Experiment(claims=(WORSE,), arms=arms, judge=lambda evidence: ())


def gallery(evidence: Evidence, scale: Scale, folder: Path) -> None:
    """Write vicious.png: one seed, the first test images of three sets, at 32 x 32 pixels.

    Raises:
        ArmMissing: if an arm is missing.
    """
    blocks = []
    for name in SHOWN:
        yardstick, after, vicious = _arms(name)
        blocks.append(
            [
                evidence.take(yardstick).arrays["originals"],
                evidence.take(after).arrays["pictures"],
                evidence.take(vicious).arrays["pictures"],
            ]
        )
    cell = _SIDE * _ZOOM
    height = len(blocks) * (len(_ROWS) * (cell + 2) + 10) - 10
    sheet = Image.new("RGB", (_LEFT + _COLUMNS * (cell + 2), height), "white")
    pen = ImageDraw.Draw(sheet)
    top = 0
    for rows in blocks:
        for label, pictures in zip(_ROWS, rows, strict=True):
            pen.text((4, top + cell // 2 - 6), label, fill="black")
            for column, picture in enumerate(pictures[:_COLUMNS]):
                colours = np.broadcast_to(picture, (3, *picture.shape[1:])).transpose(1, 2, 0)
                small = Image.fromarray(np.ascontiguousarray(colours))
                sheet.paste(
                    small.resize((cell, cell), Image.Resampling.NEAREST),
                    (_LEFT + column * (cell + 2), top),
                )
            top += cell + 2
        top += 10
    sheet.save(folder / "vicious.png", optimize=True)
