"""A decoder that doubles the grid stage by stage, whatever each stage is made of."""

from collections.abc import Callable
from itertools import pairwise
from math import log2

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, pixel_shuffle, pixel_unshuffle

from splitveil.nets.ends import Ends
from splitveil.nets.inverter import MapStem, VectorStem
from splitveil.nets.representation import REPRESENTATIONS

_COARSEST = 4
_WIDEST = 8

StageMaker = Callable[[int, int, int, int], nn.Module]
"""Makes a stage of (channels in, channels out, factor 1 or 2, stages that still follow)."""


class StagedInverter(nn.Module):
    """Features to a grid, through stages that double it, then beside the guesses to the image.

    Stages end at half the image's resolution, with `width` channels; each before has twice as many,
    up to eight times. Maps start on their own grid where that is coarser; vectors on one of about
    four cells a side. Guesses come in at the end, 2 x 2 pixels folded into channels, and the answer
    is unfolded likewise (Shi et al. 2016). Grids that do not double into the image are resampled
    bilinearly. It starts as no correction.
    """

    def __init__(
        self, ends: Ends, *, width: int, stage: StageMaker, representation: str = "plain"
    ) -> None:
        nn.Module.__init__(self)
        colours, rows, columns = ends.target
        self.size = (rows, columns)
        rows, columns = -(-rows // 2), -(-columns // 2)
        self.grid = (rows, columns)
        features, height, long = ends.features if ends.are_maps else (ends.features[0], 1, 1)
        self.represent = REPRESENTATIONS[representation](features, height * long)
        channels = int(self.represent.channels)  # type: ignore[arg-type]
        if ends.are_maps and (height, long) != (1, 1):
            grid = (min(height, rows), min(long, columns))
        else:
            doublings = max(0, round(log2(max(1.0, min(rows, columns) / _COARSEST))))
            grid = (-(-rows // 2**doublings), -(-columns // 2**doublings))
        ups = max(0, round(log2(max(rows / grid[0], columns / grid[1]))))
        widths = [width * min(_WIDEST, 2**left) for left in range(ups, -1, -1)]
        self.flat = not ends.are_maps
        self.stem: nn.Module = (
            VectorStem(channels, widths[0], grid)
            if self.flat
            else MapStem(channels, (height, long), widths[0], grid)
        )
        self.style = nn.Embedding(ends.classes, widths[0])
        nn.init.zeros_(self.style.weight)
        plan = list(pairwise(widths)) or [(widths[0], widths[0])]
        factor = 2 if ups else 1
        self.stages = nn.ModuleList(
            stage(before, after, factor, len(plan) - 1 - index)
            for index, (before, after) in enumerate(plan)
        )
        self.join = nn.Conv2d(widths[-1] + 4 * ends.guesses * colours, width, 3, padding=1)
        self.out = nn.Sequential(nn.PReLU(), nn.Conv2d(width, 4 * colours, 3, padding=1))
        last = self.out[1]
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, z: Tensor, guesses: Tensor, rows: Tensor) -> Tensor:
        """Map features, guesses (n, guesses * colours, H, W) and rows to (n, colours, H, W)."""
        seen = self.represent(z[:, :, None, None] if self.flat else z.contiguous())
        hidden = self.stem(seen.flatten(1) if self.flat else seen)
        hidden = hidden + self.style(rows)[:, :, None, None]
        for stage in self.stages:
            hidden = stage(hidden)
        if hidden.shape[2:] != self.grid:
            hidden = interpolate(hidden, self.grid, mode="bilinear")
        folded = pixel_unshuffle(pad(guesses, (0, self.size[1] % 2, 0, self.size[0] % 2)), 2)
        both = torch.cat([hidden, folded.to(hidden.dtype)], 1)
        image = pixel_shuffle(self.out(self.join(both)), 2)
        return image[:, :, : self.size[0], : self.size[1]]


def upsampling(before: int, after: int, factor: int) -> nn.Module:
    """A convolution from `before` to `after` channels that keeps the grid, or doubles it."""
    if factor == 1:
        return nn.Conv2d(before, after, 3, padding=1)
    return nn.ConvTranspose2d(before, after, 4, 2, 1)


class PlainStage(nn.Module):
    """Transposed convolution, group normalisation, PReLU."""

    def __init__(self, before: int, after: int, factor: int, left: int) -> None:
        nn.Module.__init__(self)
        self.layers = nn.Sequential(
            upsampling(before, after, factor), nn.GroupNorm(8, after), nn.PReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, before, h, w) to (n, after, factor h, factor w)."""
        out: Tensor = self.layers(x)
        return out


class ResidualStage(nn.Module):
    """The mirror of a residual unit, `depth` of them, of which the first changes the grid.

    Branch: group normalisation, 3 x 3 transposed convolution, PReLU, transposed convolution, group
    normalisation; shortcut: a transposed convolution and group normalisation, or nothing.
    """

    def __init__(self, before: int, after: int, factor: int, left: int, *, depth: int = 2) -> None:
        nn.Module.__init__(self)
        plan = [(before, factor)] + [(after, 1)] * (depth - 1)
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(8, width),
                nn.ConvTranspose2d(width, after, 3, 1, 1),
                nn.PReLU(),
                upsampling(after, after, up),
                nn.GroupNorm(8, after),
            )
            for width, up in plan
        )
        self.shortcut: nn.Module = nn.Sequential(
            nn.ConvTranspose2d(before, after, factor, factor), nn.GroupNorm(8, after)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, before, h, w) to (n, after, factor h, factor w)."""
        out: Tensor = self.shortcut(x) + self.branches[0](x)
        for branch in self.branches[1:]:
            out = out + branch(out)
        return out
