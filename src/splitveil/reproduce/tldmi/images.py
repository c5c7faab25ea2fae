"""Characters for the experiments: each identity's pictures in parts that never mix."""

from dataclasses import dataclass
from functools import cache

import torch

from splitveil.data import LabelledImages, TrainingImages
from splitveil.data.glyphs import glyphs
from splitveil.rng import Rng
from splitveil.shapes import Images

CLASSES = 40
_PARTS = {"train": 100, "validation": 20, "judges": 60, "held out": 20}
_RNG = Rng(0, ("tldmi", "glyphs"))


@dataclass(frozen=True, eq=False, kw_only=True)
class Characters:
    """What the defender trains on, what judges are trained on, and what the attacker has.

    `training` are 100 and 20 pictures of each private character; `judges` 60 others, to which
    distances are measured too; `held_out` 20 others, for accuracy. `public` has no labels.
    `before` are other characters, to train on first.
    """

    training: TrainingImages
    judges: LabelledImages
    held_out: LabelledImages
    public: Images
    before: TrainingImages


@cache
def characters() -> Characters:
    """The same pictures every time."""
    whole = glyphs("private", each=sum(_PARTS.values()), rng=_RNG)
    parts = _divided(whole, [*_PARTS.values()])
    train, validation, judges, held_out = parts
    first, second = _divided(glyphs("pretraining", each=100, rng=_RNG), [80, 20])
    return Characters(
        training=_training("private characters", train, validation),
        judges=judges,
        held_out=held_out,
        public=glyphs("public", each=80, rng=_RNG).x,
        before=_training("other characters", first, second),
    )


def _divided(whole: LabelledImages, counts: list[int]) -> list[LabelledImages]:
    """Parts with as many pictures of every class: pictures of a class stand together."""
    rows = torch.arange(len(whole)).view(-1, sum(counts))
    return [whole.take(part.flatten()) for part in rows.split(counts, 1)]


def _training(name: str, train: LabelledImages, validation: LabelledImages) -> TrainingImages:
    assert train.y is not None  # noqa: S101 - glyphs have classes
    names = tuple(str(label) for label in range(int(train.y.max()) + 1))
    return TrainingImages(
        name=name, train=train, validation=validation, probe=validation, class_names=names
    )
