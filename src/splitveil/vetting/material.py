"""Labelled images to train shadows and panels on."""

import numpy as np

from splitveil.data import LabelledImages, load_data
from splitveil.data.fashion_mnist import read_training
from splitveil.data.load import read_rows
from splitveil.data.pixels import PixelPlan
from splitveil.rng import Rng

_DEMO_SIZE = 32


def training_images(
    source: str | None,
    *,
    rng: Rng,
    size: int | None = None,
    channels: int | None = None,
    limit: int | None = None,
) -> LabelledImages:
    """Images to train on: of "fashion-mnist" the official ones 0-49,999, else the auxiliary split.

    Args:
        source: as `load_data` takes it.
        rng: the stream of the division and of the choice.
        size: height and width; None keeps what is stored, 32 for Fashion-MNIST.
        channels: 1 or 3; None keeps what is stored.
        limit: the most images to use, the first ones of "fashion-mnist".

    Raises:
        BadData: as `load_data`.
        UnknownName: as `load_data`.
    """
    if source == "fashion-mnist":
        whole = read_training()
        rows = np.arange(min(limit or len(whole), len(whole)))
        plan = PixelPlan(size=size or _DEMO_SIZE, channels=channels, fit="pad")
        return read_rows(whole, rows, plan, source)[0]
    images = load_data(source, size=size, channels=channels, rng=rng).auxiliary
    return (
        images
        if limit is None
        else LabelledImages(
            images.x[:limit], None if images.y is None else images.y[:limit], images.ids[:limit]
        )
    )
