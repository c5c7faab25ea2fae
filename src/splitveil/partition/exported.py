"""Trace a network with torch.export, and put its mode-dependent modules back."""

import warnings
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree


def trace_export(model: nn.Module, example: Tensor) -> tuple[nn.Module, fx.Graph]:
    """The model's graph by torch.export (not strict, dynamic batch), in the model's own mode.

    Operations are ATen's; parameters and buffers are read from `model` by their own names.
    """
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(model, (example,), strict=False, dynamic_shapes=({0: batch},))
        module: Any = program.module()
    graph: fx.Graph = module.graph
    spec = graph._codegen.pytree_info.out_spec  # type: ignore[attr-defined]
    plain = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node.op == "output":
            values = fx.map_arg(node.args[0], copies.__getitem__)
            plain.output(pytree.tree_unflatten(list(values), spec))
        elif not str(node.target).startswith("_guards"):
            copy = plain.node_copy(node, copies.__getitem__)
            copy.meta = {"scope": _scope(node)}
            copies[node] = copy
    for node in plain.find_nodes(op="get_attr"):
        node.target = _adopt(model, module, str(node.target))
    return model, plain


def _scope(node: fx.Node) -> tuple[str, ...]:
    """Module calls around a node, as `path` or `path@1`, outermost first, without the root."""
    stack = node.meta.get("nn_module_stack") or {}
    scope = []
    for key, (path, _) in stack.items():
        again = key.rpartition("@")[2] if "@" in key else ""
        if path and not key.startswith("_empty"):
            path = path.partition("@")[0]
            scope.append(f"{path}@{again}" if again.isdigit() else path)
    return tuple(scope)


def _adopt(model: nn.Module, module: nn.Module, name: str) -> str:
    """Where the model holds a tensor; constants that export lifted out of code are given to it."""
    holder, _, leaf = name.rpartition(".")
    try:
        getattr(model.get_submodule(holder), leaf)
    except AttributeError:
        value = getattr(module.get_submodule(holder), leaf)
        name = "_constant_" + name.replace(".", "_")
        model.register_buffer(name, value, persistent=False)
    return name
