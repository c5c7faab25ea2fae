from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from splitveil.partition import trace
from splitveil.partition.types import Partition
from splitveil.release import Identity
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Observation, WhiteBox, white_box


class Block(nn.Module):
    """post(skip(x) + branch(x)), written so that nothing can be read off its class."""

    def __init__(self, branch: nn.Module, skip: nn.Module, post: nn.Module) -> None:
        nn.Module.__init__(self)
        self.one, self.two, self.three = branch, skip, post

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.three(self.one(x) + self.two(x))
        return out


def conv(i: int, o: int, size: int = 3, stride: int = 1, **settings: Any) -> nn.Conv2d:
    return nn.Conv2d(i, o, size, stride, size // 2, bias=False, **settings)


def plain(i: int, o: int, stride: int = 1, post: nn.Module | None = None) -> Block:
    """The published form: no BatchNorm, no bias."""
    skip: nn.Module = nn.Identity() if stride == 1 and i == o else nn.Conv2d(i, o, 1, stride)
    branch = nn.Sequential(conv(i, o, stride=stride), nn.ReLU(), conv(o, o))
    return Block(branch, skip, post or nn.Identity())


def bottleneck(width: int, stride: int = 1) -> Block:
    """Three convolutions with BatchNorm, ReLU after the sum."""
    branch = nn.Sequential(
        *(conv(width, 4, 1), nn.BatchNorm2d(4), nn.ReLU()),
        *(conv(4, 4, 3, stride), nn.BatchNorm2d(4), nn.ReLU()),
        *(conv(4, width, 1), nn.BatchNorm2d(width)),
    )
    narrow = nn.Sequential(nn.AvgPool2d(stride, ceil_mode=True), conv(width, width, 1))
    skip = nn.Identity() if stride == 1 else narrow
    return Block(branch, skip, nn.ReLU())


def ir_unit(i: int, o: int, stride: int = 1) -> Block:
    """BatchNorm first, PReLU within, sub-sampling on the skip."""
    branch = nn.Sequential(
        nn.BatchNorm2d(i), conv(i, o), nn.PReLU(o), conv(o, o, stride=stride), nn.BatchNorm2d(o)
    )
    return Block(branch, nn.MaxPool2d(1, stride), nn.Identity())


def stem(o: int = 6, channels: int = 3) -> list[nn.Module]:
    return [conv(channels, o), nn.BatchNorm2d(o), nn.ReLU()]


def seeded(make: Callable[[], Sequence[nn.Module]], seed: int = 0) -> nn.Sequential:
    """A network whose weights and running statistics depend on the seed alone, in evaluation."""
    with Rng(seed, ("peel net",)).as_global():
        net = nn.Sequential(*make())
        for part in net.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.running_mean = 0.1 * torch.randn(part.num_features)
                part.running_var = 0.5 + torch.rand(part.num_features)
                part.weight.data = 0.5 + torch.rand(part.num_features)
                part.bias.data = 0.1 * torch.randn(part.num_features)
    return net.eval()


def images(n: int, shape: tuple[int, ...] = (3, 8, 8), seed: int = 1) -> Tensor:
    """Soft patches with some noise on them."""
    g = torch.Generator().manual_seed(seed)
    soft = F.interpolate(torch.rand(n, shape[0], 4, 4, generator=g), shape[1:], mode="bilinear")
    return 0.8 * soft + 0.2 * torch.rand(n, *shape, generator=g)


def halves(
    net: nn.Sequential, cut: str, x: Tensor, release: Release | None = None
) -> tuple[Partition, WhiteBox, Observation]:
    """A network, with something after it, cut in two; its attacker; what is sent for x."""
    traced = trace(nn.Sequential(*net, nn.Tanh()), x[:2])
    partition = traced.split(traced.cut(cut), release or Identity())
    knowledge = white_box(partition, Auxiliary(x[:2].flip(0)))
    z = partition.transmit(x, Rng(9)).detach()[:, None]
    return partition, knowledge, Observation(z, partition.cut.layout)
