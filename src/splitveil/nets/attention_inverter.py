"""A network of convolutions and self-attention that turns features back into images."""

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    adaptive_avg_pool2d,
    pad,
    pixel_shuffle,
    pixel_unshuffle,
    scaled_dot_product_attention,
    silu,
)

from splitveil.nets.ends import Ends
from splitveil.nets.inverter import ConditionedBlock, MapStem, VectorStem

_KEYS = 16
"""Cells along one side that are looked at; finer grids are averaged down to it."""


class MapAttention(nn.Module):
    """x + self-attention between the cells of a map, after group normalisation.

    softmax(Q Kᵀ / sqrt(w / heads)) V over all cells; keys and values of grids finer than 16 x 16
    are averages over blocks, so that the cost is linear in the cells.
    """

    def __init__(self, width: int, heads: int) -> None:
        nn.Module.__init__(self)
        self.heads = heads
        self.norm = nn.GroupNorm(8, width)
        self.query = nn.Conv2d(width, width, 1)
        self.key = nn.Conv2d(width, 2 * width, 1)
        self.out = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to the same shape."""
        normal = self.norm(x)
        side = (min(x.shape[2], _KEYS), min(x.shape[3], _KEYS))
        seen = normal if side == x.shape[2:] else adaptive_avg_pool2d(normal, side)
        key, value = self.key(seen).chunk(2, 1)
        found = scaled_dot_product_attention(
            self._split(self.query(normal)), self._split(key), self._split(value)
        )
        back = found.transpose(2, 3).flatten(1, 2).unflatten(2, tuple(x.shape[2:]))
        out: Tensor = x + self.out(back)
        return out

    def _split(self, maps: Tensor) -> Tensor:
        """(n, width, h, w) as (n, heads, cells, width / heads)."""
        return maps.flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3)


class AttentionInverter(nn.Module):
    """Correct first guesses of images; every cell sees every other. Starts as no correction.

    As `ImageInverter`, with learned positions and self-attention after each block.
    """

    def __init__(self, ends: Ends, *, width: int, depth: int, heads: int) -> None:
        nn.Module.__init__(self)
        colours, rows, columns = ends.target
        self.size = (rows, columns)
        self.stride = 4 if min(self.size) >= 16 else 2
        grid = (-(-rows // self.stride), -(-columns // self.stride))
        self.stem: nn.Module = (
            MapStem(ends.features[0], (ends.features[1], ends.features[2]), width, grid)
            if ends.are_maps
            else VectorStem(ends.features[0], width, grid)
        )
        self.guess = nn.Conv2d(ends.guesses * colours * self.stride**2, width, 3, padding=1)
        self.place = nn.Parameter(torch.zeros(1, width, *grid))
        self.blocks = nn.ModuleList(ConditionedBlock(width, ends.classes) for _ in range(depth))
        self.mixers = nn.ModuleList(MapAttention(width, heads) for _ in range(depth))
        self.norm = nn.GroupNorm(8, width)
        self.out = nn.Conv2d(width, colours * self.stride**2, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, z: Tensor, guesses: Tensor, rows: Tensor) -> Tensor:
        """Map features, guesses (n, guesses * colours, H, W) and rows to (n, colours, H, W)."""
        height, width = self.size
        guesses = pad(guesses, (0, -width % self.stride, 0, -height % self.stride))
        hidden = self.stem(z) + self.guess(pixel_unshuffle(guesses, self.stride)) + self.place
        for block, mixer in zip(self.blocks, self.mixers, strict=True):
            hidden = mixer(block(hidden, rows))
        image = pixel_shuffle(self.out(silu(self.norm(hidden))), self.stride)
        return image[:, :, :height, :width]
