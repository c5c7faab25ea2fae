"""Images on a coarser grid of pixels, for searching large structures first."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate


@dataclass(frozen=True)
class Scale:
    """Targets of `shape` (c, h, w), or of any shape at factor 1, by pixels `factor` times as wide.

    Bilinear interpolation keeps within the range of what it interpolates.
    """

    shape: tuple[int, ...]
    factor: int

    @property
    def coarse(self) -> tuple[int, ...]:
        """The shape of the coarse image."""
        if self.factor == 1:
            return self.shape
        c, h, w = self.shape
        return c, -(-h // self.factor), -(-w // self.factor)

    def down(self, x: Tensor) -> Tensor:
        """Targets (b, d) as coarse pixels (b, d'), by averages."""
        if self.factor == 1:
            return x
        image = x.unflatten(1, self.shape)
        _, h, w = self.coarse
        return adaptive_avg_pool2d(image, (h, w)).flatten(1)

    def up(self, u: Tensor) -> Tensor:
        """Coarse pixels (b, d') as targets (b, *shape), differentiable."""
        image = u.unflatten(1, self.coarse)
        if self.factor == 1:
            return image
        return interpolate(image, self.shape[1:], mode="bilinear", align_corners=False)


def scales(shape: tuple[int, ...], factors: tuple[int, ...]) -> tuple[Scale, ...]:
    """The scales to go through, coarsest first, ending with the targets themselves.

    Targets that are no images have one scale; factors that leave fewer than 4 pixels a side are
    passed over.
    """
    if len(shape) != 3:
        return (Scale(shape, 1),)
    least = min(shape[1:])
    useful = sorted({f for f in factors if f > 1 and least // f >= 4}, reverse=True)
    return (*(Scale(shape, f) for f in useful), Scale(shape, 1))


def lift(u: Tensor, old: Scale, new: Scale) -> Tensor:
    """Coarse pixels of one scale as those of another."""
    with torch.no_grad():
        return new.down(old.up(u).flatten(1))
