"""Whom the attackers attack, what they own, and ratios of their errors."""

import numpy as np
import torch
from numpy.typing import NDArray

from splitveil.attacks.evidence import encode
from splitveil.data import LabelledImages
from splitveil.quantities import Quantity
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.gpz.attacks import ratio
from splitveil.rng import Rng
from splitveil.threat import Observation, WhiteBox

TESTED = 200
OWNED = 4096
_DRAWN = Rng(0).child("attacks")


def owned_and_private(bench: Bench, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """The seed's own 4,096 images, drawn anew for every seed, and the test images of all seeds."""
    images = bench.images()
    whole = images.auxiliary
    order = torch.randperm(len(whole), generator=_DRAWN.child("auxiliary", seed).torch())
    held = torch.randperm(len(images.test), generator=_DRAWN.child("test").torch())
    return whole.take(order[:OWNED]), images.test.take(held[:TESTED].sort().values)


def first_of(images: LabelledImages, count: int) -> LabelledImages:
    """The first few."""
    return images.take(torch.arange(min(count, len(images))))


def seen_by(knowledge: WhiteBox, test: LabelledImages) -> Observation:
    """What crosses for the test images, in clear."""
    z = encode(knowledge, test.x)
    return Observation(z[:, None], knowledge.layout, test.y if knowledge.knows_label else None)


def over(
    top: NDArray[np.float32], bottom: NDArray[np.float32], *path: str, words: tuple[str, ...] = ()
) -> Quantity:
    """The ratio of mean errors (seeds, images), on the images that both were measured on."""
    few = min(top.shape[1], bottom.shape[1])
    first, second = (each[:, :few].astype(np.float64) for each in (top, bottom))
    return ratio(first, second, _DRAWN.child(*path), words)
