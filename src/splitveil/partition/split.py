"""Build both halves of a traced network at a frontier."""

import copy

from torch import Tensor, fx, nn

from splitveil.errors import UnsupportedCut
from splitveil.partition.flow import batch_size, device_of, origins
from splitveil.partition.frontier import Frontier
from splitveil.partition.layout import Layout


class Head(nn.Module):
    """The device's half: images to packed features z of shape (n, f)."""

    def __init__(self, network: nn.Module, layout: Layout) -> None:
        nn.Module.__init__(self)
        self.network = network
        self.layout = layout

    def forward(self, x: Tensor) -> Tensor:
        """Compute what crosses and pack it."""
        return self.layout.pack(self.network(x))


class Tail(nn.Module):
    """The cloud's half: packed features z of shape (n, f) to the model's outputs."""

    def __init__(self, network: nn.Module, layout: Layout) -> None:
        nn.Module.__init__(self)
        self.network = network
        self.layout = layout

    def forward(self, z: Tensor) -> object:
        """Unpack what crossed and finish the computation."""
        return self.network(z, *self.layout.unpack(z))


def halves(
    module: fx.GraphModule, frontier: Frontier, layout: Layout
) -> tuple[Head, Tail, tuple[str, ...]]:
    """Head and tail as one deep copy, so that parameters both use stay shared between them.

    Returns:
        Head, tail, and the names of shared parameters.
    """
    twin = copy.deepcopy(module)
    places = {old: new for old, new in zip(module.graph.nodes, twin.graph.nodes, strict=True)}
    nodes = tuple(places[node] for node in frontier.nodes)
    head = Head(fx.GraphModule(twin, _head_graph(twin.graph, nodes), "Head"), layout)
    tail = Tail(fx.GraphModule(twin, _tail_graph(twin.graph, nodes), "Tail"), layout)
    mine = {id(p) for p in head.parameters()}
    shared = tuple(n for n, p in tail.network.named_parameters() if id(p) in mine)
    return head.train(module.training), tail.train(module.training), shared


def needed(wanted: tuple[fx.Node, ...], stop: tuple[fx.Node, ...]) -> set[fx.Node]:
    """Everything `wanted` is computed from, without what is only behind `stop`."""
    found: set[fx.Node] = set()
    waiting = list(wanted)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            if node not in stop:
                waiting.extend(node.all_input_nodes)
    return found


def _head_graph(graph: fx.Graph, crossing: tuple[fx.Node, ...]) -> fx.Graph:
    reached = needed(crossing, ())
    copies: dict[fx.Node, fx.Node] = {}
    head = fx.Graph()
    for node in graph.nodes:
        if node in reached or node.op == "placeholder":
            copies[node] = head.node_copy(node, copies.__getitem__)
    head.output(tuple(copies[node] for node in crossing))
    return head


def _tail_graph(graph: fx.Graph, crossing: tuple[fx.Node, ...]) -> fx.Graph:
    """Crossing tensors become inputs; batch size and device are read from z instead of x."""
    output = next(iter(graph.find_nodes(op="output")))
    source = origins(graph)
    reached = needed((output,), crossing)
    tail = fx.Graph()
    z = tail.placeholder("z")
    copies = {node: tail.placeholder(f"part_{index}") for index, node in enumerate(crossing)}
    for node in graph.nodes:
        if node not in reached or node in copies or node.op == "placeholder":
            continue
        if node.op == "output":
            tail.output(fx.map_arg(node.args[0], copies.__getitem__))
        elif node.target in (batch_size, device_of):
            copies[node] = tail.call_function(node.target, (z,))
        elif any(given not in copies for given in node.all_input_nodes):
            raise UnsupportedCut(f"step '{node.name}' needs {source[node].name} that stays behind")
        else:
            copies[node] = tail.node_copy(node, copies.__getitem__)
    return tail
