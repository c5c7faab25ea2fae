"""From an observation to the values of a head's last nodes."""

from typing import Any

import torch
from torch import Tensor, fx, nn

from splitveil.attacks.peel.graph import HeadGraph
from splitveil.attacks.peel.opened import graph_of
from splitveil.errors import BadInput
from splitveil.partition.flow import Origin, origins
from splitveil.partition.functional import operation
from splitveil.partition.layout import Layout
from splitveil.partition.split import Tail
from splitveil.shapes import Features
from splitveil.threat import Observation


def read_observation(observation: Observation, layout: Layout) -> Features:
    """One z an image, averaged over sends.

    Raises:
        BadInput: if z does not fit the layout or is not finite.
    """
    z = observation.z
    if z.ndim != 3 or z.shape[1] < 1 or z.shape[2] != layout.size:
        raise BadInput(
            f"expected observed features of shape (n, sends, {layout.size}), got "
            f"{tuple(z.shape)}: use the partition the attack was fitted to"
        )
    if not torch.isfinite(z).all():
        raise BadInput("observed features are not finite: check the model and its release")
    z = z.detach()
    return (z if z.is_floating_point() else z.float()).mean(1)


def sent(head: HeadGraph, layout: Layout, z: Features) -> tuple[Tensor, ...]:
    """The values of the head's crossing nodes: parts of the layout, or the one packed row.

    Raises:
        BadInput: if the layout does not describe what the head gives.
    """
    shapes = [head.shapes[node] for node in head.crossing]
    if len(shapes) == 1 and shapes[0] == (layout.size,):
        return (z,)
    parts: tuple[Tensor, ...] = layout.unpack(z)
    if [tuple(part.shape[1:]) for part in parts] != [tuple(shape) for shape in shapes]:
        raise BadInput(
            f"the layout has parts {[part.shape for part in layout.parts]}, the head gives "
            f"{shapes}: split the model again"
        )
    return parts


def tail_has_blocks(tail: nn.Module) -> bool:
    """Whether the cloud's half holds a sum of two values computed from what it receives.

    Enough to tell a residual network from another when the cut lies before its first block.
    """
    if not isinstance(tail, Tail) or not isinstance(tail.network, fx.GraphModule):
        return False
    whole = [node for node in tail.network.graph.nodes if node.op == "call_module"]
    inner = (graph_of(tail.network.get_submodule(str(node.target)), node) for node in whole)
    graphs = [tail.network.graph, *(found[1] for found in inner if found is not None)]
    return any(_adds(graph) for graph in graphs)


def _adds(graph: fx.Graph) -> bool:
    kinds = origins(graph)

    def data(node: Any) -> int:
        return sum(kinds[i] is Origin.DATA for i in node.all_input_nodes)

    return any(operation(n) == "add" and data(n) == 2 for n in graph.nodes)
