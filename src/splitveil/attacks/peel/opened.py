"""Modules that a graph keeps whole as they act otherwise in training: their steps laid open."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from splitveil.partition.functional import make_functional

_INNER = "inner"


class _Call(nn.Module):
    """A module with everything but its one tensor filled in."""

    def __init__(self, inner: nn.Module, given: Mapping[str, Any], free: str) -> None:
        nn.Module.__init__(self)
        self.add_module(_INNER, inner)
        self.given, self.free = dict(given), free

    def forward(self, x: Any) -> Any:
        return self.get_submodule(_INNER)(**{**self.given, self.free: x})


class _Values(fx.Interpreter):
    """Runs a graph and keeps what every step gave."""

    def __init__(self, module: fx.GraphModule) -> None:
        fx.Interpreter.__init__(self, module, garbage_collect_values=False)
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = fx.Interpreter.run_node(self, n)
        self.values[n] = value
        return value


@torch.no_grad()
def open_modules(module: fx.GraphModule, example: Tensor) -> None:
    """Put the steps of modules kept whole into the graph, where they are the same in evaluation.

    A residual block that drops its branch now and then in training is one operation of a graph
    that must train; to be undone its sum must be seen. What cannot be followed stays whole.
    """
    graph = module.graph
    whole = _Values(module)
    whole.run(example)
    for node in list(graph.nodes):
        if node.op != "call_module":
            continue
        traced = graph_of(module.get_submodule(str(node.target)), node)
        if traced is None:
            continue
        x = whole.values[node.all_input_nodes[0]]
        if not _same(*traced, x, whole.values[node]):
            continue
        found = traced[1]
        for step in found.nodes:
            if step.op in ("call_module", "get_attr"):
                step.target = f"{node.target}{str(step.target).removeprefix(_INNER)}"
        start = next(iter(found.find_nodes(op="placeholder")))
        with graph.inserting_before(node):
            result = graph.graph_copy(found, {start: node.all_input_nodes[0]})
        node.replace_all_uses_with(result)
        graph.erase_node(node)
    graph.lint()
    module.recompile()


def graph_of(part: nn.Module, node: fx.Node) -> tuple[nn.Module, fx.Graph] | None:
    """A module that a node calls whole, as a function of its one tensor, and that one's graph.

    None where it has several inputs, is a layer of torch.nn's or cannot be followed.
    """
    if next(part.children(), None) is None or type(part).__module__.startswith("torch.nn"):
        return None
    # foreign code raises anything when traced; the module then stays whole
    try:
        bound = inspect.signature(part.forward).bind(*node.args, **node.kwargs).arguments
        free = [name for name, value in bound.items() if isinstance(value, fx.Node)]
        if len(free) != 1 or len(node.all_input_nodes) != 1:
            return None
        given = {name: value for name, value in bound.items() if name != free[0]}
        whole = _Call(part, given, free[0])
        graph = fx.Tracer().trace(whole)
        make_functional(whole, graph)
    except Exception:
        return None
    return whole, graph


def _same(whole: nn.Module, graph: fx.Graph, x: Any, result: Any) -> bool:
    """Whether a graph gives the same bits, by tensors alone, and is more than one step."""
    run = _Values(fx.GraphModule(whole, graph))
    try:
        same = torch.equal(run.run(x), result)
    except Exception:
        return False
    return same and all(isinstance(value, Tensor) for value in run.values.values())
