"""Which convolutions of a device's half can lose output channels, and why others cannot."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import fx, nn

from splitveil.partition import Cut, Traced

# each maps zero to zero and channels to themselves
_PLAIN_MODULES = (
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AvgPool2d,
    nn.Dropout,
    nn.Dropout2d,
    nn.ELU,
    nn.GELU,
    nn.Hardswish,
    nn.Identity,
    nn.LeakyReLU,
    nn.MaxPool2d,
    nn.ReLU,
    nn.ReLU6,
    nn.SiLU,
    nn.Tanh,
)
_PLAIN_FUNCTIONS = (
    F.adaptive_avg_pool2d,
    F.avg_pool2d,
    F.dropout,
    F.elu,
    F.gelu,
    F.hardswish,
    F.leaky_relu,
    F.max_pool2d,
    F.relu,
    F.relu6,
    F.silu,
    torch.relu,
    torch.tanh,
)
_PLAIN_METHODS = ("relu", "tanh")


@dataclass(frozen=True)
class Prunable:
    """A convolution and all that sees its channels.

    `layers` have values a channel (BatchNorm, PReLU); `readers` are the convolutions that read
    them. All are names of modules that run once.
    """

    conv: str
    channels: int
    layers: tuple[str, ...]
    readers: tuple[str, ...]

    @property
    def touched(self) -> tuple[str, ...]:
        """All modules that change with the channels."""
        return (self.conv, *self.layers, *self.readers)


def prunable_channels(traced: Traced, cut: Cut) -> tuple[tuple[Prunable, ...], dict[str, str]]:
    """Convolutions on the device whose output channels can be taken out, and why others cannot.

    Between such a convolution and the convolutions that read it lies nothing but layers that treat
    each channel by itself and keep zero. What is added to a skip, joined, or sent stays whole.
    """
    edge, _ = traced.steps(cut)
    there = set(edge)
    modules = dict(traced.module.named_modules())
    calls: dict[str, int] = {}
    for node in traced.module.graph.nodes:
        if node.op == "call_module":
            calls[str(node.target)] = calls.get(str(node.target), 0) + 1
    found: list[Prunable] = []
    kept: dict[str, str] = {}
    for node in edge:
        if node.op != "call_module" or not isinstance(modules[str(node.target)], nn.Conv2d):
            continue
        seen = _followed(node, there, modules, calls)
        if isinstance(seen, str):
            kept[str(node.target)] = seen
        else:
            found.append(seen)
    return tuple(found), kept


def _followed(
    start: fx.Node, there: set[fx.Node], modules: Mapping[str, nn.Module], calls: Mapping[str, int]
) -> Prunable | str:
    conv = modules[str(start.target)]
    assert isinstance(conv, nn.Conv2d)  # noqa: S101 - it was asked for
    if conv.groups > 1 or calls[str(start.target)] > 1:
        return "runs in groups" if conv.groups > 1 else "runs several times"
    layers: list[str] = []
    readers: list[str] = []
    waiting = list(start.users)
    while waiting:
        node = waiting.pop(0)
        if node not in there:
            return "crosses the cut"
        kind = _kind(node, modules, calls)
        if kind == "reader":
            readers.append(str(node.target))
            continue
        if kind == "other":
            return f"goes into {node.name}"
        if kind == "layer":
            layers.append(str(node.target))
        waiting += [user for user in node.users if user not in waiting]
    if not readers:
        return "crosses the cut"
    return Prunable(str(start.target), conv.out_channels, tuple(layers), tuple(readers))


def _kind(node: fx.Node, modules: Mapping[str, nn.Module], calls: Mapping[str, int]) -> str:
    """What a step is to the channels that reach it."""
    if node.op == "call_function":
        return "plain" if node.target in _PLAIN_FUNCTIONS else "other"
    if node.op == "call_method":
        return "plain" if node.target in _PLAIN_METHODS else "other"
    if node.op != "call_module" or calls[str(node.target)] > 1:
        return "other"
    module = modules[str(node.target)]
    if isinstance(module, nn.Conv2d) and module.groups == 1:
        return "reader"
    if isinstance(module, nn.BatchNorm2d) and module.affine:
        return "layer"
    if isinstance(module, nn.PReLU):
        return "layer" if module.num_parameters > 1 else "plain"
    return "plain" if isinstance(module, _PLAIN_MODULES) else "other"
