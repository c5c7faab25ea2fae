"""Identities for the experiments: each one's pictures in parts that never mix."""

from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

import torch

from splitveil.data import LabelledImages, TrainingImages
from splitveil.data.glyphs import GlyphOracle, glyphs
from splitveil.data.oracle import PictureOracle
from splitveil.data.people import PersonOracle, people
from splitveil.rng import Rng
from splitveil.shapes import Images

Identity: TypeAlias = Literal["characters", "people"]
CLASSES = 40
_PARTS = {"train": 100, "validation": 20, "judges": 60, "held out": 20}


@dataclass(frozen=True, eq=False, kw_only=True)
class Identities:
    """What the defender trains on, what judges are trained on, and what the attacker has.

    `training` are 100 and 20 pictures of each private identity; `judges` 60 others, to which
    distances are measured too; `held_out` 20 others, for accuracy. `public` has no labels.
    `before` are other identities, to train on first. `oracle` names private ones untrained.
    """

    training: TrainingImages
    judges: LabelledImages
    held_out: LabelledImages
    public: Images
    before: TrainingImages
    oracle: PictureOracle


@cache
def identities(kind: Identity) -> Identities:
    """The same pictures every time, grey: characters in 16 typefaces, or cartoon people."""
    rng = Rng(0, ("tldmi", "glyphs" if kind == "characters" else kind))

    def drawn(part: Literal["private", "public", "pretraining"], each: int) -> LabelledImages:
        if kind == "characters":
            return glyphs(part, each=each, rng=rng)
        return people(part, each=each, channels=1, rng=rng)

    whole = drawn("private", sum(_PARTS.values()))
    train, validation, judges, held_out = _divided(whole, [*_PARTS.values()])
    first, second = _divided(drawn("pretraining", 100), [80, 20])
    oracle = GlyphOracle() if kind == "characters" else PersonOracle()
    return Identities(
        training=_training(f"private {kind}", train, validation),
        judges=judges,
        held_out=held_out,
        public=drawn("public", 80).x,
        before=_training(f"other {kind}", first, second),
        oracle=oracle,
    )


def _divided(whole: LabelledImages, counts: list[int]) -> list[LabelledImages]:
    """Parts with as many pictures of every class: pictures of a class stand together."""
    rows = torch.arange(len(whole)).view(-1, sum(counts))
    return [whole.take(part.flatten()) for part in rows.split(counts, 1)]


def _training(name: str, train: LabelledImages, validation: LabelledImages) -> TrainingImages:
    assert train.y is not None  # noqa: S101 - identities are classes
    names = tuple(str(label) for label in range(int(train.y.max()) + 1))
    return TrainingImages(
        name=name, train=train, validation=validation, probe=validation, class_names=names
    )
