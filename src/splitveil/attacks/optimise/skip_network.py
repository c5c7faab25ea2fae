"""A small network that draws images from noise: smooth ones sooner than rough ones."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

_SKIPPED = 4
_GROUPS = 4


class SkipNetwork(nn.Module):
    """Down `depth` times and up again with narrow skips; GroupNorm, no batch statistics.

    Maps a code (b, channels, h, w) to images (b, colours, h, w) in (0, 1). `width` is a multiple
    of 4.
    """

    def __init__(self, channels: int, colours: int, width: int, depth: int) -> None:
        nn.Module.__init__(self)
        wide = [channels, *[width] * depth]
        self.down = nn.ModuleList(_Block(a, b, stride=2) for a, b in pairwise(wide))
        self.skip = nn.ModuleList(nn.Conv2d(a, _SKIPPED, 1) for a in wide[:-1])
        self.up = nn.ModuleList(_Block(width + _SKIPPED, width, stride=1) for _ in range(depth))
        self.out = nn.Conv2d(width, colours, 1)

    def forward(self, code: Tensor) -> Tensor:
        """Draw the images of codes."""
        kept, x = [], code
        for skip, down in zip(self.skip, self.down, strict=True):
            kept.append(skip(x))
            x = down(x)
        for up, beside in zip(self.up, reversed(kept), strict=True):
            x = up(torch.cat([interpolate(x, beside.shape[-2:], mode="nearest"), beside], -3))
        drawn: Tensor = self.out(x).sigmoid()
        return drawn


class _Block(nn.Module):
    def __init__(self, channels: int, width: int, *, stride: int) -> None:
        nn.Module.__init__(self)
        self.first = nn.Conv2d(channels, width, 3, stride, 1)
        self.second = nn.Conv2d(width, width, 3, 1, 1)
        self.norms = nn.ModuleList(nn.GroupNorm(_GROUPS, width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = leaky_relu(self.norms[0](self.first(x)), 0.2)
        out: Tensor = leaky_relu(self.norms[1](self.second(x)), 0.2)
        return out
