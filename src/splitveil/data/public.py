"""Images without labels: what an attacker owns."""

import numpy as np

from splitveil.data.load import open_source, read_rows
from splitveil.data.pixels import Fit, PixelPlan
from splitveil.data.types import LabelledImages
from splitveil.errors import BadData
from splitveil.rng import Rng


def load_public(
    source: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    fit: Fit | None = None,
    images: int | None = None,
    rng: Rng,
) -> LabelledImages:
    """Images of a user's source, labels dropped; at most `images`, drawn at random.

    Args:
        source: a folder of pictures, an IDX or .npz file, or `package.module:factory`.
        size: height and width to convert to; None keeps what is stored.
        channels: 1 or 3 to convert to grey or RGB; None keeps what is stored.
        fit: "bilinear" or "pad"; None is "bilinear".
        images: the most to use.
        rng: the stream that draws them.

    Raises:
        BadData: one line with what is wrong and what to do.
        UnknownName: if `source` is neither a path that exists nor a factory.
    """
    whole = open_source(source, None)
    count = min(len(whole), images or len(whole))
    if not count:
        raise BadData(f"{source} holds no images: point to other public images")
    rows = np.sort(rng.numpy().choice(len(whole), count, replace=False)).astype(np.int64)
    plan = PixelPlan(size=size, channels=channels, fit=fit or "bilinear")
    found, _notes = read_rows(whole, rows, plan, source)
    return LabelledImages(found.x)
