"""A stretch of a graph at a point: its values, J v and J^T u."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, fx

from splitveil.attacks.peel.graph import HeadGraph, size_of
from splitveil.attacks.peel.pieces import Piece, piece
from splitveil.errors import BadInput
from splitveil.partition.flow import Origin, batch_size, device_of, execute

# convolutions in float64 write out every window, of all images at once: more than caches hold
_AT_ONCE = 1


@dataclass(frozen=True, eq=False)
class Linearised:
    """f(x) at one x for a batch of independent images, with J v and J^T u.

    `values` are f's results (n, ...), several where f has several. J is block-diagonal over images.
    For every kind of layer <J v, u> = <v, J^T u> up to rounding.
    """

    values: tuple[Tensor, ...]
    _x: Tensor
    _source: fx.Node
    _targets: tuple[fx.Node, ...]
    _tape: tuple[tuple[fx.Node, tuple[fx.Node, ...], Piece], ...]

    @torch.no_grad()
    def push(self, v: Tensor) -> tuple[Tensor, ...]:
        """J v for v shaped like x: one tensor a result."""
        moved = {self._source: v}
        for node, inputs, step in self._tape:
            moved[node] = step.push([moved[i] for i in inputs])
        return tuple(moved[node] for node in self._targets)

    @torch.no_grad()
    def pull(self, u: Sequence[Tensor]) -> Tensor:
        """J^T u for one u a result: shaped like x."""
        owed: dict[fx.Node, Tensor] = {}
        for node, share in zip(self._targets, u, strict=True):
            owed[node] = owed[node] + share if node in owed else share
        for node, inputs, step in reversed(self._tape):
            if node not in owed:
                continue
            for given, share in zip(inputs, step.pull(owed.pop(node)), strict=True):
                owed[given] = owed[given] + share if given in owed else share
        return owed.get(self._source, torch.zeros_like(self._x))


@torch.no_grad()
def evaluate(
    head: HeadGraph,
    steps: Sequence[fx.Node],
    source: fx.Node,
    targets: Sequence[fx.Node],
    x: Tensor,
    *,
    scaled: fx.Node | None = None,
    gain: float = 1.0,
) -> tuple[Tensor, ...]:
    """Values of `targets` as functions of the value x of `source`, in x's precision."""
    if x.dtype is torch.float64 and x.device.type == "cpu" and len(x) > _AT_ONCE:
        found = [
            evaluate(head, steps, source, targets, part, scaled=scaled, gain=gain)
            for part in x.split(_AT_ONCE)
        ]
        return tuple(torch.cat(values) for values in zip(*found, strict=True))
    module = head.module(x.dtype)
    values: dict[fx.Node, Any] = {source: x}
    for node in steps:
        if node.target in (batch_size, device_of):
            values[node] = size_of(node, x)
        else:
            values[node] = execute(node, values, module)
            if node is scaled and gain != 1.0:
                values[node] = values[node] * gain
    return tuple(values[node] for node in targets)


def linearise(
    head: HeadGraph,
    steps: Sequence[fx.Node],
    source: fx.Node,
    targets: Sequence[fx.Node],
    x: Tensor,
    *,
    scaled: fx.Node | None = None,
    gain: float = 1.0,
) -> Linearised:
    """Values and Jacobian of `targets` as functions of the value x of `source`.

    The value of the node `scaled` is multiplied by `gain`.

    Raises:
        BadInput: if an operation on the way passes no gradient.
    """
    module = head.module(x.dtype)
    values: dict[fx.Node, Any] = {source: x}
    tape: list[tuple[fx.Node, tuple[fx.Node, ...], Piece]] = []
    with torch.no_grad():
        for node in steps:
            if node.target in (batch_size, device_of):
                values[node] = size_of(node, x)
            elif head.kinds[node] is not Origin.DATA:
                values[node] = execute(node, values, module)
            else:
                inputs = tuple(i for i in node.all_input_nodes if head.kinds[i] is Origin.DATA)
                given = [values[i] for i in inputs]

                def call(*tensors: Tensor, node: fx.Node = node, inputs: Any = inputs) -> Any:
                    return execute(
                        node, {**values, **dict(zip(inputs, tensors, strict=True))}, module
                    )

                step = piece(node, module, given, call)
                if node is scaled and gain != 1.0:
                    step = _scaled(step, gain)
                values[node] = step.value
                tape.append((node, inputs, step))
    results = tuple(values[node] for node in targets)
    return Linearised(results, x, source, tuple(targets), tuple(tape))


def require_gradient(head: HeadGraph, steps: Sequence[fx.Node], targets: Sequence[fx.Node]) -> None:
    """Refuse a head whose outputs do not move with its input.

    Raises:
        BadInput: if an operation passes no gradient, or only zeros.
    """
    shape = head.shapes[head.source]
    device = next((t.device for t in head.single.state_dict().values()), None)
    x = torch.linspace(0.05, 0.95, prod(shape), device=device).reshape(1, *shape)
    linear = linearise(head, steps, head.source, targets, x)
    if not bool(linear.pull([torch.ones_like(value) for value in linear.values]).any()):
        raise BadInput(
            "the head passes no gradient: this attack needs a differentiable one; use an attack "
            "that only queries it, such as Decoder"
        )


def _scaled(step: Piece, gain: float) -> Piece:
    def pull(u: Tensor) -> tuple[Tensor, ...]:
        return step.pull(u * gain)

    return Piece(step.value * gain, lambda v: step.push(v) * gain, pull)
