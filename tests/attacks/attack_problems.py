from typing import Protocol

import torch
from torch import Tensor, nn

from splitveil.partition.layout import Layout, Part
from splitveil.partition.types import Cut, CutKind, Partition
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, WhiteBox, white_box


class Additive(Release):
    def __init__(self, sigma: float) -> None:
        self.sigma = sigma

    def __call__(self, z: Tensor, generator: torch.Generator) -> Tensor:
        return z + self.sigma * torch.randn(z.shape, generator=generator)

    def bits(self, features: int) -> float:
        return 32.0 * features


def partition_of(head: nn.Module, *shapes: tuple[int, ...], sigma: float = 0.0) -> Partition:
    layout = Layout(tuple(Part(f"part{i}", shape) for i, shape in enumerate(shapes)))
    cut = Cut("id", "cut", CutKind.OTHER, 0.5, layout)
    return Partition(cut, head.eval(), Additive(sigma), nn.Identity())


class Problem:
    """A partition with auxiliary and private targets of one distribution."""

    def __init__(
        self, partition: Partition, x: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor
    ) -> None:
        self.partition = partition
        self.auxiliary = Auxiliary(x, y)
        self.x_test, self.y_test = x_test, y_test
        with torch.no_grad():
            self.z_test = partition.transmit(x_test, Rng(9))[:, None]

    def knowledge(self, *, queries: int | None = None, knows_label: bool = True) -> WhiteBox:
        return white_box(self.partition, self.auxiliary, queries=queries, knows_label=knows_label)


def blobs(n: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images of soft blobs whose class is their brightness; two channels."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n,), generator=g)
    axis = torch.linspace(-1, 1, size)
    centre = torch.rand(n, 2, 2, generator=g) - 0.5
    row = (axis[None, None] - centre[..., :1]).square()
    column = (axis[None, None] - centre[..., 1:]).square()
    x = torch.exp(-3 * (row[..., :, None] + column[..., None, :]))
    return (x * (0.4 + 0.2 * y.float())[:, None, None, None]).clamp(0, 1), y


class Builder(Protocol):
    def __call__(
        self, n: int, d: int, f: int, sigma: float, seed: int = 0
    ) -> tuple[Problem, float]: ...
