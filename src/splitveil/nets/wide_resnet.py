"""Wide residual networks and their mirror images, which turn a few outputs back into images.

Pre-activation blocks (Zagoruyko & Komodakis 2016): BN-ReLU-conv-BN-ReLU-conv beside the identity,
or beside a 1x1 convolution of the first ReLU where the width changes. The mirror has transposed
convolutions in their place, and doubles the grid where the network halves it.
"""

from itertools import pairwise

from torch import Tensor, nn

from splitveil.errors import BadPlan

_HALVINGS = 8
"""What a classifier's last grid is coarser by than its image; three groups of the mirror."""


class WideBlock(nn.Module):
    """Two 3x3 convolutions; the first may halve the grid."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        nn.Module.__init__(self)
        self.norm1, self.relu1 = nn.BatchNorm2d(inputs), nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm2, self.relu2 = nn.BatchNorm2d(outputs), nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.mixes = inputs != outputs or stride > 1
        self.shortcut: nn.Module = (
            nn.Conv2d(inputs, outputs, 1, stride, bias=False) if self.mixes else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h / stride, w / stride), rounded up."""
        hidden = self.relu1(self.norm1(x))
        beside = self.shortcut(hidden) if self.mixes else x
        out: Tensor = beside + self.conv2(self.relu2(self.norm2(self.conv1(hidden))))
        return out


class RaisingBlock(nn.Module):
    """Two transposed convolutions; the first may double the grid.

    The shortcut of a doubling is a 2x2 transposed convolution of stride 2, or in the coarsest
    group a 1x1 convolution of the grid repeated.
    """

    def __init__(self, inputs: int, outputs: int, *, doubles: bool, coarsest: bool) -> None:
        nn.Module.__init__(self)
        self.norm1, self.relu1 = nn.BatchNorm2d(inputs), nn.ReLU()
        reach, stride = (4, 2) if doubles else (3, 1)
        self.conv1 = nn.ConvTranspose2d(inputs, outputs, reach, stride, padding=1, bias=False)
        self.norm2, self.relu2 = nn.BatchNorm2d(outputs), nn.ReLU()
        self.conv2 = nn.ConvTranspose2d(outputs, outputs, 3, padding=1, bias=False)
        self.doubles = doubles
        self.shortcut: nn.Module = nn.Identity()
        if doubles and coarsest:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, bias=False), nn.Upsample(scale_factor=2)
            )
        elif doubles:
            self.shortcut = nn.ConvTranspose2d(inputs, outputs, 2, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, 2 h, 2 w), or to the same grid."""
        hidden = self.relu1(self.norm1(x))
        beside = self.shortcut(hidden) if self.doubles else x
        out: Tensor = beside + self.conv2(self.relu2(self.norm2(self.conv1(hidden))))
        return out


def wide_resnet(channels: int, outputs: int, *, depth: int = 28, width: int = 1) -> nn.Module:
    """WRN-depth-width for images of any size: 16, then three groups of 16, 32, 64 times `width`.

    Global average and one linear layer. Its parts have names, so that it can be cut.

    Raises:
        BadPlan: unless the depth is 6 blocks + 4 and the rest positive.
    """
    blocks = _blocks(depth, width, channels, outputs)
    layers: dict[str, nn.Module] = {"conv": nn.Conv2d(channels, 16, 3, padding=1, bias=False)}
    widths = [16, 16 * width, 32 * width, 64 * width]
    for group, (before, after) in enumerate(pairwise(widths)):
        layers[f"group{group + 1}"] = nn.Sequential(
            *(
                WideBlock(before if block == 0 else after, after, 2 if block == 0 and group else 1)
                for block in range(blocks)
            )
        )
    layers |= {"norm": nn.BatchNorm2d(widths[-1]), "relu": nn.ReLU()}
    layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    layers["classifier"] = nn.Linear(widths[-1], outputs)
    return _named(layers)


class MirroredWideResNet(nn.Module):
    """The mirror of `wide_resnet`: a code (n, f) to images (n, c, h, w) in [0, 1], of any size.

    One linear layer to 64 `width` maps on a grid eight times coarser than the image, three groups
    that double it with 32 `width`, 16 `width` and 16 channels, 8 where `width` is 1, one transposed
    convolution and a sigmoid. Sides that are no multiple of eight are cut off.

    Raises:
        BadPlan: as `wide_resnet`.
    """

    def __init__(
        self, code: int, shape: tuple[int, int, int], *, depth: int = 28, width: int = 1
    ) -> None:
        blocks = _blocks(depth, width, *shape, code)
        nn.Module.__init__(self)
        channels, *self.size = shape
        self.grid = tuple(-(-side // _HALVINGS) for side in self.size)
        widths = [64 * width, 32 * width, 16 * width, 8 if width == 1 else 16]
        self.linear = nn.Linear(code, widths[0] * self.grid[0] * self.grid[1])
        self.groups = nn.Sequential(
            *(
                RaisingBlock(
                    before if block == 0 else after,
                    after,
                    doubles=block == 0,
                    coarsest=group == 0,
                )
                for group, (before, after) in enumerate(pairwise(widths))
                for block in range(blocks)
            )
        )
        self.norm, self.relu = nn.BatchNorm2d(widths[-1]), nn.ReLU()
        self.out = nn.ConvTranspose2d(widths[-1], channels, 3, padding=1, bias=False)

    def forward(self, code: Tensor) -> Tensor:
        """Map codes (n, f) to images (n, c, h, w)."""
        maps = self.groups(self.linear(code).unflatten(1, (-1, *self.grid)))
        image: Tensor = self.out(self.relu(self.norm(maps))).sigmoid()
        return image[:, :, : self.size[0], : self.size[1]]


def _blocks(depth: int, *sizes: int) -> int:
    """Blocks a group."""
    if depth < 10 or depth % 6 != 4 or min(sizes) < 1:
        raise BadPlan(
            f"a wide residual network has a depth of 10, 16, 22, 28, ... and positive sizes, got "
            f"{depth} and {sizes}"
        )
    return (depth - 4) // 6


def _named(layers: dict[str, nn.Module]) -> nn.Module:
    network = nn.Sequential()
    for name, layer in layers.items():
        network.add_module(name, layer)
    return network
