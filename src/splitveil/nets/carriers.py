"""Modules that change what crosses a cut: the device's side of each, and the cloud's.

They act on one tensor that crosses, maps (n, c, h, w), tokens (n, t, d) or vectors (n, d), and are
built again from their class name and `settings` when stored weights are loaded.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Carrier(nn.Module):
    """A module that `settings` rebuild: `type(module)(**module.settings)`, tensors apart."""

    def __init__(self, **settings: Any) -> None:
        nn.Module.__init__(self)
        self.settings = settings


def channels_of(shape: Sequence[int]) -> int:
    """The channels of maps (c, h, w), the width of tokens (t, d) or vectors (d)."""
    return shape[0] if len(shape) == 3 else shape[-1]


def with_channels(shape: Sequence[int], channels: int) -> tuple[int, ...]:
    """The same shape with other channels."""
    return (channels, *shape[1:]) if len(shape) == 3 else (*shape[:-1], channels)


def mixing(shape: Sequence[int], before: int, after: int, reach: int) -> nn.Module:
    """A convolution over maps, reaching `reach` cells; a linear map over tokens and vectors."""
    if len(shape) == 3:
        return nn.Conv2d(before, after, reach, padding=reach // 2)
    return nn.Linear(before, after)


class Narrow(Carrier):
    """All channels of `shape` to `kept` by a 3x3 convolution, or a linear map."""

    def __init__(self, shape: Sequence[int], kept: int) -> None:
        Carrier.__init__(self, shape=list(shape), kept=kept)
        self.mix = mixing(shape, channels_of(shape), kept, 3)

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, *shape) to fewer channels."""
        out: Tensor = self.mix(z)
        return out


class Widen(Carrier):
    """The way back from `Narrow`."""

    def __init__(self, shape: Sequence[int], kept: int) -> None:
        Carrier.__init__(self, shape=list(shape), kept=kept)
        self.mix = mixing(shape, kept, channels_of(shape), 3)

    def forward(self, z: Tensor) -> Tensor:
        """Map `kept` channels to (n, *shape)."""
        out: Tensor = self.mix(z)
        return out


class Through(Carrier):
    """What arrives, unchanged."""

    def __init__(self) -> None:
        Carrier.__init__(self)

    def forward(self, z: Tensor) -> Tensor:
        """The same."""
        return z


CARRIERS: dict[str, type[Carrier]] = {kind.__name__: kind for kind in (Narrow, Through, Widen)}


@torch.no_grad()
def shape_behind(module: nn.Module, shape: Sequence[int]) -> tuple[int, ...]:
    """What `module` makes of the shape of one image's tensor."""
    state = module.training
    found = module.eval()(torch.zeros(2, *shape))
    module.train(state)
    return tuple(found.shape[1:])
