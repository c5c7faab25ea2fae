"""Stages of a decoder that weigh what they pass on: coarse stages simply, fine ones strongly."""

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from splitveil.nets.representation import SqueezeExcitation
from splitveil.nets.staged_inverter import PlainStage


def _depthwise(channels: int, side: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, side, padding=side // 2, groups=channels)


class ConvolutionGate(nn.Module):
    """x times a gate a value, from a 5 x 5 depthwise convolution; then a 1 x 1 convolution."""

    def __init__(self, channels: int) -> None:
        nn.Module.__init__(self)
        self.gate, self.out = _depthwise(channels, 5), nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        out: Tensor = x + self.out(x * self.gate(x).sigmoid())
        return out


class LargeKernelGate(nn.Module):
    """x times a gate a value, from a 7 x 7 depthwise and a 1 x 1 convolution."""

    def __init__(self, channels: int) -> None:
        nn.Module.__init__(self)
        self.gate = nn.Sequential(_depthwise(channels, 7), nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        out: Tensor = x + x * self.gate(x).sigmoid()
        return out


class ScalesGate(nn.Module):
    """x times a gate a value, from depthwise convolutions of 3, 5 and 7 cells, fused."""

    def __init__(self, channels: int) -> None:
        nn.Module.__init__(self)
        self.scales = nn.ModuleList(_depthwise(channels, side) for side in (3, 5, 7))
        self.fuse = nn.Conv2d(3 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        seen = torch.cat([scale(x) for scale in self.scales], 1)
        out: Tensor = x + x * self.fuse(silu(seen)).sigmoid()
        return out


class AttentiveStage(nn.Module):
    """A plain stage, then a gate that is the stronger the fewer stages follow.

    Three or more: gate by convolution; two: the same and squeeze and excitation; one: a large
    kernel; none: several scales.
    """

    def __init__(self, before: int, after: int, factor: int, left: int) -> None:
        nn.Module.__init__(self)
        self.layers = nn.Sequential(PlainStage(before, after, factor, left), _gate(after, left))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, before, h, w) to (n, after, factor h, factor w)."""
        out: Tensor = self.layers(x)
        return out


def _gate(channels: int, left: int) -> nn.Module:
    match left:
        case 0:
            return ScalesGate(channels)
        case 1:
            return LargeKernelGate(channels)
        case 2:
            return nn.Sequential(ConvolutionGate(channels), SqueezeExcitation(channels, 16))
    return ConvolutionGate(channels)
