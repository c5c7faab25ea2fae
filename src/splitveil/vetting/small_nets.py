"""Small classifiers of the reference networks' families, cheap enough to train 39 times over.

Each maps normalised images of any size to logits. Images above 48 pixels a side are averaged down
to 32 first.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from splitveil.models.reference.ir import Unit
from splitveil.models.reference.resnet import BasicBlock
from splitveil.models.reference.vit import Block

WIDTHS = {"embedding": 16, "plain": 24, "residual": 16, "tokens": 64}
_LARGEST, _SIDE, _GRID = 48, 32, 4


class _Shrink(nn.Module):
    """Averages large images down to 32 pixels a side; others pass."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.pool = nn.AdaptiveAvgPool2d(_SIDE)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to at most 48 pixels a side."""
        shrunk: Tensor = self.pool(x) if max(x.shape[-2:]) > _LARGEST else x
        return shrunk


def _stem(channels: int, width: int) -> list[tuple[str, nn.Module]]:
    return [
        ("shrink", _Shrink()),
        ("conv", nn.Conv2d(channels, width, 4, 2, padding=1, bias=False)),
        ("norm", nn.BatchNorm2d(width)),
    ]


def plain(channels: int = 1, classes: int = 10, width: int = 24) -> nn.Module:
    """The vgg family: three strided convolutions with BatchNorm and ReLU, one linear layer."""
    wide, last = 2 * width, 8 * width // 3
    return nn.Sequential(
        OrderedDict(
            [
                *_stem(channels, width),
                ("relu", nn.ReLU()),
                ("conv2", nn.Conv2d(width, wide, 3, 2, padding=1, bias=False)),
                ("norm2", nn.BatchNorm2d(wide)),
                ("relu2", nn.ReLU()),
                ("conv3", nn.Conv2d(wide, last, 3, 2, padding=1, bias=False)),
                ("norm3", nn.BatchNorm2d(last)),
                ("relu3", nn.ReLU()),
                ("pool", nn.AdaptiveAvgPool2d(_GRID)),
                ("flatten", nn.Flatten()),
                ("classifier", nn.Linear(last * _GRID**2, classes)),
            ]
        )
    )


def residual(channels: int = 1, classes: int = 10, width: int = 16) -> nn.Module:
    """The resnet family: a strided stem, two basic blocks, average pool, one linear layer."""
    return nn.Sequential(
        OrderedDict(
            [
                *_stem(channels, width),
                ("relu", nn.ReLU()),
                ("block1", BasicBlock(width, 2 * width, 2)),
                ("block2", BasicBlock(2 * width, 4 * width, 2)),
                ("pool", nn.AdaptiveAvgPool2d(1)),
                ("flatten", nn.Flatten()),
                ("classifier", nn.Linear(4 * width, classes)),
            ]
        )
    )


def embedding(channels: int = 1, classes: int = 10, width: int = 16) -> nn.Module:
    """The ir family: PReLU, two units with strided shortcuts, an embedding, one linear layer."""
    return nn.Sequential(
        OrderedDict(
            [
                *_stem(channels, width),
                ("prelu", nn.PReLU(width)),
                ("unit1", Unit(width, 2 * width, 2)),
                ("unit2", Unit(2 * width, 2 * width, 2)),
                ("norm_out", nn.BatchNorm2d(2 * width)),
                ("pool", nn.AdaptiveAvgPool2d(_GRID)),
                ("flatten", nn.Flatten()),
                ("embedding", nn.Linear(2 * width * _GRID**2, 3 * width)),
                ("norm_embedding", nn.BatchNorm1d(3 * width)),
                ("classifier", nn.Linear(3 * width, classes)),
            ]
        )
    )


class _Tokens(nn.Module):
    """16 overlapping patches, two transformer blocks, their mean, one linear layer."""

    def __init__(self, channels: int, classes: int, width: int) -> None:
        nn.Module.__init__(self)
        self.shrink = nn.AdaptiveAvgPool2d(_SIDE)
        self.patches = nn.Conv2d(channels, width, 12, stride=8, padding=2)
        self.positions = nn.Parameter(torch.zeros(1, _GRID**2, width))
        self.blocks = nn.Sequential(Block(width, 4), Block(width, 4))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to logits (n, classes)."""
        rows = self.patches(self.shrink(x)).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.classifier(self.norm(self.blocks(rows)).mean(1))
        return logits


def tokens(channels: int = 1, classes: int = 10, width: int = 64) -> nn.Module:
    """The vit family: 16 patches of images averaged to 32 pixels a side, two blocks, four heads."""
    return _Tokens(channels, classes, width)
