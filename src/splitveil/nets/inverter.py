"""Networks that turn features back into targets, as a correction to a first guess.

Normalisation is over groups of channels, never over the batch, so that one image's answer does not
depend on the images beside it.
"""

from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, pixel_shuffle, pixel_unshuffle, silu


class ConditionedBlock(nn.Module):
    """x + two 3x3 convolutions, the first scaled and shifted by the class (Perez et al. 2018)."""

    def __init__(self, width: int, classes: int) -> None:
        nn.Module.__init__(self)
        self.norm1, self.norm2 = nn.GroupNorm(8, width), nn.GroupNorm(8, width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.style = nn.Embedding(classes, 2 * width)
        nn.init.zeros_(self.style.weight)

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """Map (n, width, h, w) and class rows (n,) to the same shape."""
        scale, shift = self.style(rows)[:, :, None, None].chunk(2, 1)
        hidden = self.conv1(silu(self.norm1(x) * (1 + scale) + shift))
        out: Tensor = x + self.conv2(silu(self.norm2(hidden)))
        return out


class MapStem(nn.Module):
    """Bring maps (n, channels, h, w) of any size to (n, width, *grid) by one convolution.

    Finer maps are folded into channels, coarser ones unfolded from them, so that nothing is lost
    where sizes divide; elsewhere maps are resampled bilinearly.
    """

    def __init__(
        self, channels: int, size: tuple[int, int], width: int, grid: tuple[int, int]
    ) -> None:
        nn.Module.__init__(self)
        self.grid = grid
        self.fold, self.unfold = 1, 1
        if size[0] % grid[0] == 0 and size[0] // grid[0] * grid[1] == size[1]:
            self.fold = size[0] // grid[0]
        elif grid[0] % size[0] == 0 and grid[0] // size[0] * size[1] == grid[1]:
            self.unfold = grid[0] // size[0]
        reach = 1 if self.fold > 1 or self.unfold > 2 else 3
        self.conv = nn.Conv2d(
            channels * self.fold**2, width * self.unfold**2, reach, padding=reach // 2
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, channels, h, w) to (n, width, *grid)."""
        if self.fold > 1:
            maps = pixel_unshuffle(maps, self.fold)
        # GroupNorm on channels-last memory crashes some CPU builds of torch
        out: Tensor = pixel_shuffle(self.conv(maps.contiguous()), self.unfold)
        return out if out.shape[2:] == self.grid else interpolate(out, self.grid, mode="bilinear")


class VectorStem(nn.Module):
    """Bring vectors (n, features) to (n, width, *grid) through one hidden layer."""

    def __init__(self, features: int, width: int, grid: tuple[int, int]) -> None:
        nn.Module.__init__(self)
        self.shape = (width, *grid)
        hidden = 4 * width
        self.layers = nn.Sequential(
            nn.Linear(features, hidden), nn.SiLU(), nn.Linear(hidden, prod(self.shape))
        )

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, features) to (n, width, *grid)."""
        out: Tensor = self.layers(z).unflatten(1, self.shape)
        return out


class ImageInverter(nn.Module):
    """Correct first guesses of images, given features and classes; starts as no correction.

    Works on a grid `stride` times coarser than the image, the guesses folded into channels beside
    the features, and unfolds its answer (Shi et al. 2016), which keeps it cheap.
    """

    def __init__(
        self,
        features: tuple[int, ...],
        shape: tuple[int, ...],
        *,
        guesses: int,
        classes: int,
        width: int,
        depth: int,
    ) -> None:
        nn.Module.__init__(self)
        colours, rows, columns = shape
        self.size = (rows, columns)
        self.stride = 4 if min(self.size) >= 16 else 2
        grid = (-(-rows // self.stride), -(-columns // self.stride))
        self.stem: nn.Module = (
            MapStem(features[0], (features[1], features[2]), width, grid)
            if len(features) == 3
            else VectorStem(features[0], width, grid)
        )
        self.guess = nn.Conv2d(guesses * colours * self.stride**2, width, 3, padding=1)
        self.blocks = nn.ModuleList(ConditionedBlock(width, classes) for _ in range(depth))
        self.norm = nn.GroupNorm(8, width)
        self.out = nn.Conv2d(width, colours * self.stride**2, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, z: Tensor, guesses: Tensor, rows: Tensor) -> Tensor:
        """Map features, guesses (n, guesses * colours, H, W) and rows to (n, colours, H, W)."""
        height, width = self.size
        missing = (-width % self.stride, -height % self.stride)
        guesses = pad(guesses, (0, missing[0], 0, missing[1]))
        hidden = self.stem(z) + self.guess(pixel_unshuffle(guesses, self.stride))
        for block in self.blocks:
            hidden = block(hidden, rows)
        image = pixel_shuffle(self.out(silu(self.norm(hidden))), self.stride)
        return image[:, :, :height, :width]


class VectorInverter(nn.Module):
    """Correct first guesses of vector targets, given features and classes."""

    def __init__(
        self, features: int, size: int, *, guesses: int, classes: int, width: int, depth: int
    ) -> None:
        nn.Module.__init__(self)
        self.stem = nn.Linear(features + guesses * size, width)
        self.style = nn.Embedding(classes, width)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU())
            for _ in range(depth)
        )
        self.out = nn.Linear(width, size)
        for parameter in (self.style.weight, self.out.weight, self.out.bias):
            nn.init.zeros_(parameter)

    def forward(self, z: Tensor, guesses: Tensor, rows: Tensor) -> Tensor:
        """Map (n, features), guesses (n, guesses * size) and rows (n,) to (n, size)."""
        hidden = self.stem(torch.cat([z, guesses], 1)) + self.style(rows)
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        out: Tensor = self.out(hidden)
        return out
