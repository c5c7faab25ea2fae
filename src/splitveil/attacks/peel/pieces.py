"""One operation's value and its derivative both ways, as cheap as the operation itself.

At inputs (a, b, ...) an operation f has the value f(a, b, ...), pushes directions
(da, db, ...) -> f' (da, db, ...) and pulls u -> (f'_a^T u, f'_b^T u, ...). Convolution, matrix,
activation, max-pool (a selection) and sum have rules of their own; every other operation is pulled
by autograd and pushed by differentiating that pull, which is linear in u.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from splitveil.attacks.peel.graph import ChannelAffine
from splitveil.errors import BadInput
from splitveil.partition.functional import operation

Push: TypeAlias = Callable[[Sequence[Tensor]], Tensor]
Pull: TypeAlias = Callable[[Tensor], tuple[Tensor, ...]]
_SUMS = {"add"}


@dataclass(frozen=True, eq=False)
class Piece:
    """Value of an operation and its derivative, pushed and pulled."""

    value: Tensor
    push: Push
    pull: Pull


def piece(
    node: fx.Node, module: nn.Module, inputs: Sequence[Tensor], call: Callable[..., Any]
) -> Piece:
    """The derivative of one node at its inputs; `call` computes the node from them.

    Raises:
        BadInput: if the operation passes no gradient.
    """
    if node.op == "call_module":
        part = module.get_submodule(str(node.target))
        rule = _RULES.get(type(part))
        found = None if rule is None or len(inputs) != 1 else rule(part, inputs[0])
        if found is not None:
            return found
    name = operation(node)
    if name in _SUMS and len(inputs) == 2 and not node.kwargs and len(node.args) == 2:
        first, second = inputs
        if first.shape == second.shape:
            return Piece(first + second, lambda v: v[0] + v[1], lambda u: (u, u))
    if name == "relu" and len(inputs) == 1:
        return _slopes(torch.relu(inputs[0]), (inputs[0] > 0).to(inputs[0].dtype))
    return by_autograd(call, inputs, node.name)


def _slopes(value: Tensor, slope: Tensor) -> Piece:
    return Piece(value, lambda v: v[0] * slope, lambda u: (u * slope,))


def _convolution(part: nn.Conv2d, x: Tensor) -> Piece | None:
    if part.padding_mode != "zeros" or isinstance(part.padding, str):
        return None
    stride, padding, dilation = list(part.stride), list(part.padding), list(part.dilation)
    weight, groups = part.weight, part.groups

    def push(v: Sequence[Tensor]) -> Tensor:
        return F.conv2d(v[0], weight, None, stride, padding, dilation, groups)

    def pull(u: Tensor) -> tuple[Tensor, ...]:
        grad = torch.ops.aten.convolution_backward(
            u,
            x,
            weight,
            None,
            stride,
            padding,
            dilation,
            False,
            [0, 0],
            groups,
            [True, False, False],
        )
        return (grad[0],)

    return Piece(part(x), push, pull)


def _linear(part: nn.Linear, x: Tensor) -> Piece:
    weight = part.weight
    return Piece(part(x), lambda v: v[0] @ weight.T, lambda u: (u @ weight,))


def _affine(part: ChannelAffine, x: Tensor) -> Piece:
    scale = part.scale.view((1, -1) + (1,) * (x.dim() - 2))
    return Piece(part(x), lambda v: v[0] * scale, lambda u: (u * scale,))


def _relu(part: nn.ReLU, x: Tensor) -> Piece:
    return _slopes(torch.relu(x), (x > 0).to(x.dtype))


def _leaky(part: nn.LeakyReLU, x: Tensor) -> Piece:
    slope = torch.where(x > 0, 1.0, part.negative_slope).to(x.dtype)
    return _slopes(x * slope, slope)


def _prelu(part: nn.PReLU, x: Tensor) -> Piece:
    weight = part.weight.view((1, -1) + (1,) * (x.dim() - 2))
    slope = torch.where(x > 0, torch.ones_like(weight), weight)
    return _slopes(x * slope, slope)


def _max_pool(part: nn.MaxPool2d, x: Tensor) -> Piece:
    value, where = F.max_pool2d(
        x, part.kernel_size, part.stride, part.padding, part.dilation, part.ceil_mode, True
    )
    at, wide, narrow = where.flatten(2), x.shape, value.shape

    def push(v: Sequence[Tensor]) -> Tensor:
        return v[0].flatten(2).gather(2, at).reshape(narrow)

    def pull(u: Tensor) -> tuple[Tensor, ...]:
        out = u.new_zeros(wide).flatten(2)
        return (out.scatter_add_(2, at, u.flatten(2)).reshape(wide),)

    return Piece(value, push, pull)


_RULES: dict[type[nn.Module], Callable[[Any, Tensor], Piece | None]] = {
    nn.Conv2d: _convolution,
    nn.Linear: _linear,
    ChannelAffine: _affine,
    nn.ReLU: _relu,
    nn.LeakyReLU: _leaky,
    nn.PReLU: _prelu,
    nn.MaxPool2d: _max_pool,
}


def by_autograd(call: Callable[..., Any], inputs: Sequence[Tensor], name: str) -> Piece:
    """Any operation: pull by reverse mode; push by reverse mode through the pull.

    Raises:
        BadInput: if no gradient passes.
    """
    with torch.enable_grad():
        points = [x.detach().requires_grad_() for x in inputs]
        value = call(*points)
        if not value.requires_grad:
            raise BadInput(
                f"'{name}' passes no gradient: this attack needs a differentiable head; use one "
                "that only queries it, such as Decoder"
            )
        seed = torch.zeros_like(value, requires_grad=True)
        pulled = torch.autograd.grad(value, points, seed, create_graph=True, materialize_grads=True)

    def push(v: Sequence[Tensor]) -> Tensor:
        pairs = [(g, d) for g, d in zip(pulled, v, strict=True) if g.requires_grad]
        if not pairs:
            return torch.zeros_like(value)
        grads, directions = zip(*pairs, strict=True)
        (out,) = torch.autograd.grad(
            grads, seed, directions, retain_graph=True, materialize_grads=True
        )
        return out

    def pull(u: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(value, points, u, retain_graph=True, materialize_grads=True)

    return Piece(value.detach(), push, pull)
