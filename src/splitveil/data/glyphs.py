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
from torch.nn.functional import affine_grid, grid_sample

from splitveil.data.types import LabelledImages
from splitveil.errors import BadData, BadPlan, UnknownName
from splitveil.rng import Rng
from splitveil.shapes import Images, Labels, PerImage

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


@dataclass(frozen=True, kw_only=True)
class Jitter:
    """How far pictures of one character differ, every number uniform in its range.

    Rotation in ± `degrees`, ln scale of each axis in ± `scale`, shear in ± `shear`, shift in
    ± `shift` of half the side; ink is [1 - `shade`, 1] and paper [0, `shade`].

    Raises:
        BadPlan: if a range is negative, or the shades meet.
    """

    degrees: float = 12.0
    scale: float = 0.12
    shear: float = 0.12
    shift: float = 0.12
    shade: float = 0.25

    def __post_init__(self) -> None:
        ranges = (self.degrees, self.scale, self.shear, self.shift, self.shade)
        if min(ranges) < 0 or self.shade >= 0.5:
            raise BadPlan(f"jitter needs ranges of 0 or more, and shades below 0.5: got {self}")


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
            _jittered(ink[labels, faces], size, jitter, own.child("jitter", number))
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
class GlyphOracle:
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
    templates: int = 24

    def __post_init__(self) -> None:
        if self.templates < 1:
            raise BadPlan(f"an oracle needs one template or more, got {self.templates}")

    def __call__(self, images: Images, labels: Labels) -> PerImage:
        """A distance for each image, float64."""
        return self.distances(images)[torch.arange(len(images)), labels]

    def named(self, images: Images) -> Labels:
        """The character that each image is nearest to: a judge that nobody can train against."""
        return self.distances(images).argmin(1)

    def distances(self, images: Images) -> Float[Tensor, "n characters"]:
        """Distances to all characters, float64.

        Raises:
            BadData: if images are not grey and square.
        """
        if images.shape[1] != 1 or images.shape[2] != images.shape[3]:
            raise BadData(f"glyphs are grey and square, got images {tuple(images.shape[1:])}")
        known = _templates(self.alphabet, self.templates, images.shape[2])
        found = [
            (_standard(_centred(part)) @ known.flatten(0, 1).T).unflatten(1, known.shape[:2])
            for part in images.detach().cpu().float().split(256)
        ]
        nearest = torch.cat(found).amax(2).double().clamp(0, 1)
        return (1 - nearest.square()).sqrt()


@cache
def _templates(alphabet: Alphabet, count: int, size: int) -> Tensor:
    """Standardised pictures (characters, faces · count, size²)."""
    ink = _drawn(alphabet)
    each = ink.flatten(0, 1).repeat_interleave(count, 0)
    rng = _FIRST.child("oracle", alphabet)
    parts = [
        _jittered(part, size, _JITTER, rng.child(number))
        for number, part in enumerate(each.split(4096))
    ]
    return _standard(_centred(torch.cat(parts))).unflatten(0, (len(ink), -1))


def _centred(x: Images) -> Images:
    """Pictures moved so that the middle of what is darker ink than average is theirs."""
    ink = (x - x.mean((2, 3), keepdim=True)).relu()[:, 0]
    places = (torch.arange(x.shape[2]).float() + 0.5) / x.shape[2] * 2 - 1
    total = ink.sum((1, 2)).clamp(min=1e-6)
    across, down = ink.sum(1) @ places / total, ink.sum(2) @ places / total
    still = torch.eye(2).expand(len(x), 2, 2)
    theta = torch.cat([still, torch.stack([across, down], 1)[:, :, None]], 2)
    grid = affine_grid(theta, [*x.shape], False)
    return grid_sample(x, grid, padding_mode="border", align_corners=False)


def _standard(x: Images) -> Tensor:
    """Pixels as rows of mean 0 and length 1; constant ones become 0."""
    rows = x.flatten(1)
    centred = rows - rows.mean(1, keepdim=True)
    return centred / centred.norm(dim=1, keepdim=True).clamp(min=1e-6)


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


def _jittered(ink: Tensor, size: int, jitter: Jitter, rng: Rng) -> Images:
    """Pictures (n, 1, size, size) of ink (n, canvas, canvas)."""
    drawn = torch.rand(len(ink), 8, generator=rng.torch()) * 2 - 1
    angle = drawn[:, 0] * jitter.degrees * torch.pi / 180
    wide, high = (drawn[:, 1:3] * jitter.scale).exp().unbind(1)
    shear = drawn[:, 3] * jitter.shear
    cosine, sine = angle.cos(), angle.sin()
    across = torch.stack([cosine * wide, -sine * high + shear, drawn[:, 4] * jitter.shift], 1)
    down = torch.stack([sine * wide, cosine * high, drawn[:, 5] * jitter.shift], 1)
    grid = affine_grid(torch.stack([across, down], 1), [len(ink), 1, size, size], False)
    shape = grid_sample(ink[:, None], grid, align_corners=False)
    paper, dark = ((drawn[:, 6:8, None, None, None] + 1) / 2 * jitter.shade).unbind(1)
    return (paper + (1 - dark - paper) * shape).clamp(0, 1)
