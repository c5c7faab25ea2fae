"""Small residual networks, photo patches to train and attack them with, and rivals of PEEL."""

import math
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from splitveil.attacks.peel.blocks import find_stages, joined
from splitveil.attacks.peel.gauss_newton import Effort
from splitveil.attacks.peel.graph import read_head
from splitveil.attacks.peel.prefix import Continuation, solve_prefix
from splitveil.attacks.peel.problem import pose
from splitveil.errors import BadData
from splitveil.estimators.hierarchical import hierarchical_interval
from splitveil.partition import trace
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.shapes import PerImage
from splitveil.threat import Auxiliary, Observation, WhiteBox, white_box
from splitveil.training import Schedule, fit

FOUR = ((16, 16, 1),) * 4


class Block(nn.Module):
    """c x + W2 s(W1 x), with a 1x1 convolution on the skip where shapes differ."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, share: float, *, sloped: bool = False
    ) -> None:
        nn.Module.__init__(self)
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.relu: nn.Module = nn.PReLU(outputs) if sloped else nn.ReLU()
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        same = stride == 1 and inputs == outputs
        self.skip: nn.Module = (
            nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        )
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        branch: Tensor = self.second(self.relu(self.first(x)))
        if self.share == 0:
            return branch
        return branch + (self.skip(x) if self.share == 1 else self.share * self.skip(x))


def network(
    blocks: tuple[tuple[int, int, int], ...],
    *,
    share: float = 1.0,
    seed: int = 0,
    sloped: bool = False,
) -> nn.Sequential:
    """Stem, blocks (inputs, outputs, stride), average pool and linear layer, as drawn."""
    with Rng(seed, ("peel", "network")).as_global():
        return nn.Sequential(
            nn.Conv2d(3, blocks[0][0], 3, 1, 1, bias=False),
            nn.PReLU(blocks[0][0]) if sloped else nn.ReLU(),
            *(Block(*block, share, sloped=sloped) for block in blocks),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(blocks[-1][1], 6),
        ).eval()


@cache
def _photos() -> tuple[NDArray[np.uint8], ...]:
    try:
        data: Any = import_module("skimage.data")
        samples: Any = import_module("sklearn.datasets")
    except ImportError as missing:
        raise BadData(
            "photo patches need scikit-image and scikit-learn: pip install scikit-image "
            "scikit-learn"
        ) from missing
    names = (data.astronaut, data.chelsea, data.coffee, data.rocket)
    return (*samples.load_sample_images().images, *(name() for name in names))


def patches(n: int, *, left: bool, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Patches of 64x64 from one half of six photographs, halved in size; the label is the photo.

    Raises:
        BadData: if scikit-image or scikit-learn is not installed.
    """
    photos = _photos()
    draw = Rng(seed, ("peel", "patches", str(left))).numpy()
    which = draw.integers(len(photos), size=n)
    found = []
    for k in which:
        photo = photos[k]
        middle = photo.shape[1] // 2
        half = photo[:, :middle] if left else photo[:, middle:]
        i, j = draw.integers(half.shape[0] - 64), draw.integers(half.shape[1] - 64)
        found.append(torch.from_numpy(half[i : i + 64, j : j + 64].astype(np.float32) / 255))
    x = F.avg_pool2d(torch.stack(found).permute(0, 3, 1, 2), 2)
    return x.contiguous(), torch.from_numpy(which)


@cache
def trained(
    blocks: tuple[tuple[int, int, int], ...], seed: int = 0, *, sloped: bool = False
) -> nn.Sequential:
    """Three epochs over 2000 patches; once a process, so leave it as it is."""
    net = network(blocks, seed=seed, sloped=sloped)
    x, y = patches(2000, left=True)
    fit(
        net,
        lambda module, i, _: F.cross_entropy(module(x[i]), y[i]),
        size=len(x),
        schedule=Schedule(epochs=3, batch=64, learning_rate=1e-3),
        rng=Rng(seed, ("peel", "training")),
    )
    return net.eval()


def accuracy(net: nn.Module) -> float:
    """Share of patches from the other halves whose photo the network names."""
    x, y = patches(300, left=False, seed=1)
    with torch.no_grad():
        return float((net(x).argmax(1) == y).float().mean())


def cut(
    net: nn.Sequential, blocks: int, x: Tensor, auxiliary: Tensor | None = None
) -> tuple[WhiteBox, Observation]:
    """What the attacker knows of a cut after so many blocks, and what it sees of x."""
    traced = trace(net, x[:2])
    partition = traced.split(traced.cut(str(blocks + 1)))
    z = partition.transmit(x, Rng(0)).detach()[:, None]
    known = Auxiliary(x[:2] if auxiliary is None else auxiliary)
    return white_box(partition, known), Observation(z, partition.cut.layout)


def jointly(net: nn.Sequential, blocks: int, x: Tensor, *, starts: int) -> Tensor:
    """The image by the joint solution alone, also of networks without a skip."""
    part = nn.Sequential(*list(net)[: blocks + 2])
    head = read_head(part, tuple(x.shape[1:]))
    with torch.no_grad():
        z = part(x)
    problem = pose(head, joined(head, find_stages(head)), [z], low=0.0, high=1.0)
    return solve_prefix(problem, Effort(), Continuation(starts=starts), Rng(0)).x


def smoothed(knowledge: WhiteBox, z: Tensor, x: Tensor) -> PerImage:
    """Image MSE of activation inversion with total variation: 1000 Adam steps.

    The weight is the best of three for each image, which no attacker could choose: an advantage.
    """
    least = torch.full((len(x),), math.inf, dtype=torch.float64)
    for weight in (1e-4, 1e-3, 1e-2):
        u = torch.zeros_like(x, requires_grad=True)
        optimiser = torch.optim.Adam([u], lr=0.05)
        for _ in range(1000):
            guess = torch.sigmoid(u)
            misfit = (knowledge.head(guess) - z).square().sum(1) / z.square().sum(1)
            rough = (guess[..., 1:, :] - guess[..., :-1, :]).abs().flatten(1).mean(1)
            rough = rough + (guess[..., 1:] - guess[..., :-1]).abs().flatten(1).mean(1)
            optimiser.zero_grad(set_to_none=True)
            (misfit + weight * rough).sum().backward()
            optimiser.step()
        least = torch.minimum(per_image(torch.sigmoid(u).detach(), x), least)
    return least


def per_image(found: Tensor, x: Tensor) -> PerImage:
    """Mean squared error of each image, in float64."""
    return (found.double() - x.double()).square().flatten(1).mean(1)


def among(count: int, kind: str) -> str:
    """What a number was read on: "1 trained network", "3 networks as drawn"."""
    many = "network" if count == 1 else "networks"
    return f"{count} {many} as drawn" if kind == "as drawn" else f"{count} {kind} {many}"


def mean_of(values: NDArray[np.float64], *path: str) -> Quantity:
    """The mean of values (networks, images), with an interval for other images and networks.

    With one network the interval is for that network alone.
    """
    interval = hierarchical_interval(values[:, None, :].astype(np.float64), Rng(0, ("peel", *path)))
    return Quantity(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        unit="",
        kind=Kind.MEASURED,
        n=values.shape[1],
    )
