"""Characters as identities: generated classes whose every image is of one known character.

An identity is a character; its pictures are 14 or 16 typefaces under random affine maps and shades.
The typefaces are the DejaVu and STIX families that matplotlib carries under free licences, so
nothing is downloaded and nothing is stored. Three alphabets share no character:

    private       40 Greek and Cyrillic letters
    public        54 Latin letters, digits and signs, an attacker's
    pretraining   50 mathematical and other signs

As data of an audit or a training: `splitveil.data.glyphs:private` and so on.
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from splitveil.data.jitter import Jitter, jittered
from splitveil.data.oracle import PictureOracle, centred, standard
from splitveil.data.types import LabelledImages
from splitveil.errors import BadData, BadPlan, UnknownName
from splitveil.rng import Rng

Alphabet: TypeAlias = Literal["private", "public", "pretraining"]
ALPHABETS: dict[Alphabet, str] = {
    "private": "ΓΔΘΛΞΠΣΦΨΩαβγδεζηθλμξπσφψωБДЖИЛУЦЧШЪЫЭЮЯ",
    "public": "ABCDEFGHJKLMNPQRSTVWXZabdefghjmnqrt2579&@#$%!?§¶+=<£€¥",
    "pretraining": '√∞≈≠≤∇∩⊕⊗∀∝∠→←↑↓↔⇒⇔±÷¬°†‡•«»‰{}[]()/\\^~|_*"¿⊂╔╗╚╝╬',
}
TYPEFACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
)
_SIGNS_IN = 14
"""STIX has mathematical signs in its upright faces alone."""

_CANVAS, _POINTS = 64, 38
_EACH = 200
_FIRST = Rng(0, ("glyphs",))
Glyphs: TypeAlias = Float[Tensor, "characters faces canvas canvas"]


_JITTER = Jitter()


def glyphs(
    alphabet: Alphabet,
    *,
    each: int = _EACH,
    size: int = 32,
    jitter: Jitter = _JITTER,
    rng: Rng = _FIRST,
) -> LabelledImages:
    """`each` pictures (1, size, size) of every character, classes in the alphabet's order.

    The typeface is drawn anew for every picture. The same stream gives the same pictures with the
    same versions of Pillow and matplotlib.

    Raises:
        UnknownName: if there is no such alphabet.
        BadPlan: if `each` or `size` is not positive.
        BadData: if matplotlib is without its typefaces.
    """
    if each < 1 or size < 1:
        raise BadPlan(f"glyphs need one picture and one pixel or more, got {each} and {size}")
    ink = _drawn(alphabet)
    y = torch.arange(len(ink)).repeat_interleave(each)
    own = rng.child(alphabet)
    face = torch.randint(0, ink.shape[1], (len(y),), generator=own.child("face").torch())
    x = torch.cat(
        [
            jittered(ink[labels, faces][:, None], size, jitter, own.child("jitter", number))
            for number, (labels, faces) in enumerate(
                zip(y.split(4096), face.split(4096), strict=True)
            )
        ]
    )
    return LabelledImages(x, y)


def private() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """200 pictures of each of 40 Greek and Cyrillic letters, as a data source."""
    return _source("private")


def public() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """200 pictures of each of 54 Latin letters, digits and signs, as a data source."""
    return _source("public")


def pretraining() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """200 pictures of each of 50 mathematical and other signs, as a data source."""
    return _source("pretraining")


@dataclass(frozen=True, kw_only=True)
class GlyphOracle(PictureOracle):
    """How far a picture is from being of its character, told by the typefaces and no classifier.

    √(1 - r²), r the largest correlation of its pixels, 0 or more, with `templates` random pictures
    of the character in each typeface, both moved to the middle of their ink: blind to shade,
    contrast and place, 0 for such a picture itself, 1 for one that resembles none. Other pictures
    of the character are at 0.25 on average, Latin letters at 0.58 from the nearest. Of fresh
    pictures it names 99 % rightly.

    It misleads between typefaces: a blur of several may lie nearer than a sharp letter of another
    hand.

    Raises:
        BadPlan: if there are no templates.
    """

    alphabet: Alphabet = "private"

    def known(self, size: int) -> Tensor:
        return _templates(self.alphabet, self.templates, size)


@cache
def _templates(alphabet: Alphabet, count: int, size: int) -> Tensor:
    """Standardised pictures (characters, faces · count, size²)."""
    ink = _drawn(alphabet)
    each = ink.flatten(0, 1).repeat_interleave(count, 0)
    rng = _FIRST.child("oracle", alphabet)
    parts = [
        jittered(part[:, None], size, _JITTER, rng.child(number))
        for number, part in enumerate(each.split(4096))
    ]
    return standard(centred(torch.cat(parts))).unflatten(0, (len(ink), -1))


def _source(alphabet: Alphabet) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    found = glyphs(alphabet)
    assert found.y is not None  # noqa: S101 - glyphs have classes
    pixels = found.x[:, 0, :, :, None].mul(255).round().to(torch.uint8)
    return pixels.numpy(), found.y.numpy()


@cache
def _drawn(alphabet: Alphabet) -> Glyphs:
    """Ink in [0, 1] of every character in every typeface that has it, centred."""
    if alphabet not in get_args(Alphabet):
        raise UnknownName("alphabet", alphabet, get_args(Alphabet))
    found = find_spec("matplotlib")
    places = None if found is None else found.submodule_search_locations
    folder = Path(next(iter(places or ["."]))) / "mpl-data" / "fonts" / "ttf"
    faces = TYPEFACES[:_SIGNS_IN] if alphabet == "pretraining" else TYPEFACES
    if not all((folder / f"{face}.ttf").is_file() for face in faces):
        raise BadData(f"no typefaces in {folder}: install matplotlib with its data")
    pictures = [
        [_inked(character, ImageFont.truetype(folder / f"{face}.ttf", _POINTS)) for face in faces]
        for character in ALPHABETS[alphabet]
    ]
    return torch.from_numpy(np.array(pictures, dtype=np.float32) / 255)


def _inked(character: str, face: ImageFont.FreeTypeFont) -> NDArray[np.uint8]:
    sheet = Image.new("L", (_CANVAS, _CANVAS))
    pen = ImageDraw.Draw(sheet)
    left, top, right, bottom = pen.textbbox((0, 0), character, font=face)
    middle = ((_CANVAS - left - right) / 2, (_CANVAS - top - bottom) / 2)
    pen.text(middle, character, fill=255, font=face)
    return np.asarray(sheet)
