"""A small classifier and a small decoder of its outputs, to be trained in seconds."""

from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

from splitveil.errors import BadPlan

_CELLS = 4
_COARSER = 8


def small_classifier(channels: int, outputs: int, *, width: int = 24) -> nn.Module:
    """Four 3x3 convolutions, each with BatchNorm and ReLU, and a linear layer on a 4x4 grid.

    `width` channels, then twice as many; the first three convolutions halve the grid. For images
    of any size from 8 pixels on. About 65,000 parameters at width 24 with 10 outputs.

    Raises:
        BadPlan: if a size is below 1.
    """
    if min(channels, outputs, width) < 1:
        raise BadPlan(f"sizes must be positive, got {channels}, {outputs} and {width}")
    network, before = nn.Sequential(), channels
    for index, (after, stride) in enumerate(
        ((width, 2), (2 * width, 2), (2 * width, 2), (2 * width, 1)), start=1
    ):
        network.add_module(
            f"conv{index}", nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        )
        network.add_module(f"norm{index}", nn.BatchNorm2d(after))
        network.add_module(f"relu{index}", nn.ReLU())
        before = after
    network.add_module("pool", nn.AdaptiveAvgPool2d(_CELLS))
    network.add_module("flatten", nn.Flatten())
    network.add_module("classifier", nn.Linear(before * _CELLS**2, outputs))
    return network


class SmallDecoder(nn.Module):
    """A code (n, f) to images (n, c, h, w) in [0, 1], of any size.

    Two linear layers to a grid eight times coarser than the image, two transposed convolutions
    that double it, and one convolution whose channels unfold into 2x2 pixels (Shi et al. 2016).
    About 150,000 parameters at width 24 for 32x32 pixels.

    Raises:
        BadPlan: if a size is below 1.
    """

    def __init__(self, code: int, shape: tuple[int, int, int], *, width: int = 24) -> None:
        if min(code, *shape, width) < 1:
            raise BadPlan(f"sizes must be positive, got {code}, {shape} and {width}")
        nn.Module.__init__(self)
        channels, *self.size = shape
        self.grid = tuple(-(-side // _COARSER) for side in self.size)
        cells = self.grid[0] * self.grid[1]
        self.spread = nn.Sequential(
            nn.Linear(code, 4 * width),
            nn.BatchNorm1d(4 * width),
            nn.ReLU(),
            nn.Linear(4 * width, 2 * width * cells),
        )
        self.raise_grid = nn.Sequential(
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, 2 * width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 4 * channels, 3, padding=1),
        )

    def forward(self, code: Tensor) -> Tensor:
        """Map codes (n, f) to images (n, c, h, w)."""
        maps = self.spread(code).unflatten(1, (-1, *self.grid))
        image = pixel_shuffle(self.raise_grid(maps), 2).sigmoid()
        return image[:, :, : self.size[0], : self.size[1]]
