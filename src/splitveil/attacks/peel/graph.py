"""The device's half as a graph that can be run from any of its values, in two precisions."""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from splitveil.attacks.peel.opened import open_modules
from splitveil.errors import BadInput
from splitveil.partition.flow import Origin, batch_size, device_of, execute, origins
from splitveil.partition.graph import trace
from splitveil.partition.split import Head

_SIZES = (batch_size, device_of)


class ChannelAffine(nn.Module):
    """x scale + shift with one pair a channel: a BatchNorm in evaluation."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        nn.Module.__init__(self)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift axis 1."""
        shape = (1, -1) + (1,) * (x.dim() - 2)
        return x * self.scale.view(shape) + self.shift.view(shape)


@dataclass(frozen=True, eq=False)
class HeadGraph:
    """A head without BatchNorm and dropout: `crossing` are the nodes whose values are sent.

    `double` and `single` hold the same weights in float64 and float32; `shapes` gives one image's
    share of every value that depends on the image, without the batch axis.
    """

    graph: fx.Graph
    double: nn.Module
    single: nn.Module
    source: fx.Node
    crossing: tuple[fx.Node, ...]
    shapes: Mapping[fx.Node, tuple[int, ...]]
    kinds: Mapping[fx.Node, Origin]

    def module(self, dtype: torch.dtype) -> nn.Module:
        """The weights in that precision."""
        return self.double if dtype is torch.float64 else self.single

    def steps(self, source: fx.Node, targets: Sequence[fx.Node]) -> tuple[fx.Node, ...]:
        """What must be computed to get from one value to others, in order.

        Raises:
            BadInput: if a target also depends on the image by another way than through `source`.
        """
        found: set[fx.Node] = set()
        waiting = list(targets)
        while waiting:
            node = waiting.pop()
            if node is source or node in found:
                continue
            if node.op == "placeholder":
                raise BadInput(f"'{targets[-1].name}' is not a function of '{source.name}' alone")
            found.add(node)
            if node.target not in _SIZES:
                waiting.extend(node.all_input_nodes)
        return tuple(node for node in self.graph.nodes if node in found)


def size_of(node: fx.Node, x: Tensor) -> Any:
    """The batch's size or device, read from a value in the middle of the graph."""
    function: Any = node.target
    return function(x)


def read_head(head: nn.Module, shape: tuple[int, ...]) -> HeadGraph:
    """The graph of a head for targets of that shape, on copies; the head stays untouched.

    BatchNorm in evaluation is folded into the convolution before it, or becomes a channel's scale
    and shift; dropout goes. Folding is done in float64.

    Raises:
        BadInput: if the head fails on such a target, cannot be traced, is not differentiable, or
            sends something else than one floating-point row of values an image.
    """
    weight = next(head.parameters(), None)
    device = None if weight is None else weight.device
    ramp = torch.linspace(0.05, 0.95, 3 * max(1, int(torch.Size(shape).numel())), device=device)
    example = ramp.reshape(3, *shape)
    if isinstance(head, Head) and isinstance(head.network, fx.GraphModule):
        module = copy.deepcopy(head.network)
    else:
        module = copy.deepcopy(trace(head, example).module)
    module.eval().requires_grad_(False).double()
    open_modules(module, example.double())
    graph = module.graph
    _fold(module, graph)
    source = next(iter(graph.find_nodes(op="placeholder")))
    output = next(iter(graph.find_nodes(op="output")))
    sent = output.args[0]
    crossing = tuple(sent) if isinstance(sent, (tuple, list)) else (sent,)
    if not all(isinstance(node, fx.Node) for node in crossing):
        raise BadInput("the head sends something else than tensors: split the model again")
    single = copy.deepcopy(module).float()
    _channels_last(single)
    shapes = _shapes(module, graph, source, example.double())
    return HeadGraph(graph, module, single, source, crossing, shapes, origins(graph))


def _channels_last(module: nn.Module) -> None:
    """Lay weights of convolutions out as the fast kernels read them."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.data = part.weight.data.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _shapes(
    module: nn.Module, graph: fx.Graph, source: fx.Node, example: Tensor
) -> dict[fx.Node, tuple[int, ...]]:
    kinds = origins(graph)
    values: dict[fx.Node, Any] = {}
    found: dict[fx.Node, tuple[int, ...]] = {}
    for node in graph.nodes:
        if node.op == "output":
            continue
        values[node] = example if node is source else execute(node, values, module)
        if kinds[node] is Origin.DATA:
            value = values[node]
            if not isinstance(value, Tensor) or value.dim() < 1 or len(value) != len(example):
                raise BadInput(
                    f"'{node.name}' gives no row an image: this attack cannot follow the head"
                )
            found[node] = tuple(value.shape[1:])
    return found


def _fold(module: fx.GraphModule, graph: fx.Graph) -> None:
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    for node in list(graph.nodes):
        if node.op != "call_module":
            continue
        part = module.get_submodule(str(node.target))
        if isinstance(part, (nn.modules.dropout._DropoutNd, nn.Identity)):
            _drop(graph, node)
        elif isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            before = node.args[0]
            inner = _convolution(module, before)
            if inner is not None and calls[str(before.target)] == 1 and len(before.users) == 1:
                _put(module, str(before.target), fuse_conv_bn_eval(inner, part))
                _drop(graph, node)
            else:
                _put(module, str(node.target), _affine(part))
    graph.eliminate_dead_code()
    module.delete_all_unused_submodules()


def _convolution(module: nn.Module, node: Any) -> nn.Conv2d | None:
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return None
    part = module.get_submodule(str(node.target))
    return part if type(part) is nn.Conv2d else None


def _affine(norm: nn.modules.batchnorm._BatchNorm) -> ChannelAffine:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise BadInput("a BatchNorm without running statistics mixes the images of a batch")
    scale = (variance + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias
    return ChannelAffine(scale.detach(), shift.detach())


def _put(module: nn.Module, path: str, part: nn.Module) -> None:
    holder, _, leaf = path.rpartition(".")
    setattr(module.get_submodule(holder), leaf, part.eval().requires_grad_(False))


def _drop(graph: fx.Graph, node: fx.Node) -> None:
    node.replace_all_uses_with(node.all_input_nodes[0])
    graph.erase_node(node)
