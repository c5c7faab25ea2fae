"""Activations that may overwrite their input in a pass without gradients: nobody reads it again."""

import operator
from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import fx, nn

_FRESH_MODULES = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.Linear,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.GroupNorm,
    nn.LayerNorm,
)
_FRESH_FUNCTIONS = (operator.add, torch.add)
_RECTIFIERS = (F.relu, torch.relu)


def overwriting(module: fx.GraphModule, kept: Collection[fx.Node]) -> frozenset[fx.Node]:
    """Rectifiers alone to read a tensor that is memory of its own and not in `kept`."""
    return frozenset(
        node
        for node in module.graph.nodes
        if _rectifies(module, node)
        and len((source := node.all_input_nodes[0]).users) == 1
        and source not in kept
        and _fresh(module, source)
    )


def _rectifies(module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return type(module.get_submodule(str(node.target))) is nn.ReLU
    return node.op == "call_function" and node.target in _RECTIFIERS


def _fresh(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a step's output never shares memory with a tensor read elsewhere."""
    if node.op == "call_module":
        return type(module.get_submodule(str(node.target))) in _FRESH_MODULES
    return node.op == "call_function" and node.target in _FRESH_FUNCTIONS
