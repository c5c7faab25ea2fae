"""Scales of features, so that no loud one drowns the others."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from splitveil.attacks.evidence import Evidence
from splitveil.attacks.grid import Grid
from splitveil.errors import BadInput

_BATCH = 32


@dataclass(frozen=True, eq=False)
class Standard:
    """Features with mean 0 and variance 1: per channel of a map, per value of a vector."""

    mean: Tensor
    deviation: Tensor
    grid: Grid | None

    @staticmethod
    def of(found: Evidence) -> "Standard":
        """The scales of the auxiliary features; maps where the targets are images."""
        try:
            grid = Grid.of(found.layout, found.shape)
        except BadInput:
            grid = None
        axes = (0,) if grid is None else (0, 2, 3)
        count = len(found.z) * (1 if grid is None else grid.height * grid.width)

        def total(values: Callable[[Tensor], Tensor]) -> Tensor:
            batches = (z if grid is None else grid(z) for z in found.z.split(_BATCH))
            sums = [values(z.double()).sum(axes, keepdim=True) for z in batches]
            return torch.stack(sums).sum(0) / count

        mean = total(lambda z: z)
        deviation = total(lambda z: (z - mean).square()).sqrt()
        floor = 1e-3 * deviation.max().clamp(min=1e-12)
        return Standard(mean.float(), deviation.clamp(min=floor).float(), grid)

    def __call__(self, z: Tensor) -> Tensor:
        """Map z (n, f) to maps (n, c, h, w) or vectors (n, f)."""
        return ((z if self.grid is None else self.grid(z)) - self.mean) / self.deviation

    def shape(self, size: int) -> tuple[int, ...]:
        """The shape one image's scaled features have, for z of `size` values."""
        grid = self.grid
        return (size,) if grid is None else (grid.channels, grid.height, grid.width)
