"""Images of a source one batch after another, without splits and without labels."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splitveil.data.fashion_mnist import read_bundled, read_installed
from splitveil.data.folder import PictureFolder
from splitveil.data.load import NAMES, open_source, read_rows
from splitveil.data.pixels import PixelPlan, RawImages
from splitveil.errors import BadData
from splitveil.rng import Rng
from splitveil.shapes import Images


@dataclass(frozen=True, eq=False)
class ImageStream:
    """Images in [0, 1], read as they are needed; iterating gives batches (n, c, h, w).

    >>> from splitveil.data.pixels import PixelPlan
    >>> stream = open_stream(None, PixelPlan(size=32, fit="pad"))
    >>> len(stream), next(iter(stream)).shape
    (1000, torch.Size([100, 1, 32, 32]))
    """

    name: str
    source: RawImages | PictureFolder
    order: NDArray[np.int64]
    plan: PixelPlan
    batch: int = 100

    def __len__(self) -> int:
        """How many images."""
        return len(self.order)

    def __iter__(self) -> Iterator[Images]:
        """Batches in order.

        Raises:
            BadData: if an image cannot be read, or not be made like those before it.
        """
        shape = None
        for start in range(0, len(self.order), self.batch):
            rows = self.order[start : start + self.batch]
            x = read_rows(self.source, rows, self.plan, self.name)[0].x
            shape = shape or x.shape[1:]
            if x.shape[1:] != shape:
                raise BadData(
                    f"{self.name}: images of shape {tuple(x.shape[1:])} after {tuple(shape)}: give "
                    "size= and channels= to convert them"
                )
            yield x


def open_stream(
    source: str | None, plan: PixelPlan, rng: Rng | None = None, *, batch: int = 100
) -> ImageStream:
    """The images of a source, in the order stored, or in random order with an rng.

    Args:
        source: as `load_data`; of Fashion-MNIST the test images.
        plan: how they are converted.
        rng: stream of the order; None keeps that of the source, which for class folders is class
            after class.
        batch: images at a time.

    Raises:
        BadData: if there are none, or as `load_data`.
        UnknownName: if there is no such source.
    """
    name = source or "demo"
    found: RawImages | PictureFolder
    if name in NAMES:
        found = (read_bundled() if name == "demo" else read_installed())["test"]
    else:
        found = open_source(name, None)
    order = np.arange(len(found))
    if not len(order):
        raise BadData(f"{name} holds no images")
    return ImageStream(
        name,
        found,
        order if rng is None else rng.child("stream").numpy().permutation(order),
        plan,
        batch,
    )
