"""Cartoon people as identities: generated classes whose every picture is of one known person.

A person is a set of features that stay: build, skin, ears, head, eyes, brows, nose, hair, beard.
Each is drawn in twelve moods, in which mouth, smile lines, the angles of eyes and brows, clothes,
glasses and what is worn on the head change, and then under random affine maps and shades. Drawn
with facesjs 5 (Apache License 2.0) by scripts/cartoon_people.mjs and bundled. Three crowds share no
person, and no two people more than four of eight kinds of feature:

    private       40 people
    public        54 people, an attacker's
    pretraining   50 people

As data of an audit or a training: `splitveil.data.people:private` and so on.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from splitveil.data.jitter import Jitter, jittered
from splitveil.data.oracle import PictureOracle, centred, standard
from splitveil.data.pixels import to_channels
from splitveil.data.types import LabelledImages
from splitveil.errors import BadPlan, UnknownName
from splitveil.rng import Rng
from splitveil.shapes import Images

Crowd: TypeAlias = Literal["private", "public", "pretraining"]
CROWDS: dict[Crowd, range] = {
    "private": range(40),
    "public": range(40, 94),
    "pretraining": range(94, 144),
}

_PACK = Path(__file__).parent / "bundled" / "people.npz"
_EACH = 200
_FIRST = Rng(0, ("people",))
_JITTER = Jitter(degrees=8.0, scale=0.08, shear=0.05, shift=0.08, shade=0.15)


def people(
    crowd: Crowd,
    *,
    each: int = _EACH,
    size: int = 32,
    channels: int = 3,
    jitter: Jitter = _JITTER,
    rng: Rng = _FIRST,
) -> LabelledImages:
    """`each` pictures (channels, size, size) of every person of a crowd, classes in their order.

    The mood is drawn anew for every picture. The same stream gives the same pictures.

    Raises:
        UnknownName: if there is no such crowd.
        BadPlan: if `each` or `size` is not positive, or channels are not 1 or 3.
    """
    if each < 1 or size < 1 or channels not in (1, 3):
        raise BadPlan(
            "people need one picture and one pixel or more, in 1 or 3 channels: got "
            f"{each}, {size} and {channels}"
        )
    ink = _ink(crowd, channels)
    y = torch.arange(len(ink)).repeat_interleave(each)
    own = rng.child(crowd)
    mood = torch.randint(0, ink.shape[1], (len(y),), generator=own.child("mood").torch())
    x = torch.cat(
        [
            1 - jittered(ink[labels, moods], size, jitter, own.child("jitter", number))
            for number, (labels, moods) in enumerate(
                zip(y.split(4096), mood.split(4096), strict=True)
            )
        ]
    )
    return LabelledImages(x, y)


def attributes(crowd: Crowd) -> tuple[Mapping[str, str], ...]:
    """What each person of a crowd is known by: race and gender as facesjs draws them, skin, hair.

    Raises:
        UnknownName: if there is no such crowd.
    """
    _, told = _pack()
    return tuple(told[person] for person in _members(crowd))


def private() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """200 pictures of each of 40 people, as a data source."""
    return _source("private")


def public() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """200 pictures of each of 54 other people, as a data source."""
    return _source("public")


def pretraining() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """200 pictures of each of 50 people more, as a data source."""
    return _source("pretraining")


@dataclass(frozen=True, kw_only=True)
class PersonOracle(PictureOracle):
    """How far a picture is from being of its person, told by drawings and no classifier.

    As `PictureOracle`, over `templates` random pictures of the person in each mood. Fresh pictures
    are at 0.25 from their person on average and at 0.42 from the nearest other one; it names 96 %
    of them rightly. Strangers are at 0.44 from whom they resemble most.

    It misleads where a hat or glasses cover what tells people apart: their wearers lie near each
    other.
    """

    crowd: Crowd = "private"
    channels: int = 1
    templates: int = 8

    def known(self, size: int) -> Tensor:
        return _templates(self.crowd, self.templates, size, self.channels)

    def distances(self, images: Images) -> Float[Tensor, "n identities"]:
        return super().distances(1 - images)


@cache
def _templates(crowd: Crowd, count: int, size: int, channels: int) -> Tensor:
    """Standardised ink (people, moods · count, values)."""
    ink = _ink(crowd, channels)
    each = ink.flatten(0, 1).repeat_interleave(count, 0)
    rng = _FIRST.child("oracle", crowd)
    parts = [
        jittered(part, size, _JITTER, rng.child(number))
        for number, part in enumerate(each.split(4096))
    ]
    return standard(centred(torch.cat(parts))).unflatten(0, (len(ink), -1))


def _source(crowd: Crowd) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    found = people(crowd)
    assert found.y is not None  # noqa: S101 - people have classes
    pixels = found.x.permute(0, 2, 3, 1).mul(255).round().to(torch.uint8)
    return pixels.numpy(), found.y.numpy()


def _members(crowd: Crowd) -> range:
    if crowd not in get_args(Crowd):
        raise UnknownName("crowd", crowd, get_args(Crowd))
    return CROWDS[crowd]


@cache
def _ink(crowd: Crowd, channels: int) -> Float[Tensor, "people moods channels h w"]:
    """1 less the drawing: paper is white."""
    drawn, _ = _pack()
    own = torch.from_numpy(drawn[[*_members(crowd)]]).permute(0, 1, 4, 2, 3).float() / 255
    grey, _ = to_channels(own.flatten(0, 1), channels)
    return 1 - grey.unflatten(0, own.shape[:2])


@cache
def _pack() -> tuple[UInt8[np.ndarray, "people moods h w 3"], tuple[Mapping[str, str], ...]]:
    with np.load(_PACK, allow_pickle=False) as stored:
        return stored["x"], tuple(json.loads(line) for line in stored["attributes"])
