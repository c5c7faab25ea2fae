"""Whether a traced graph is the model, bit for bit, in eval and in train."""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from splitveil.rng import Rng

_STREAM = Rng(0, ("trace", "verify"))


def replica(model: nn.Module) -> nn.Module:
    """A deep copy that shares the parameters, for runs that do not train."""
    return copy.deepcopy(model, {id(p): p for p in model.parameters()})


def same(first: Any, second: Any) -> bool:
    """Equal structure, types, shapes and values; NaN equals NaN."""
    ours, our_spec = pytree.tree_flatten(first)
    theirs, their_spec = pytree.tree_flatten(second)
    if our_spec != their_spec or len(ours) != len(theirs):
        return False
    return all(_same_leaf(a, b) for a, b in zip(ours, theirs, strict=True))


def _same_leaf(first: Any, second: Any) -> bool:
    if not isinstance(first, Tensor) or not isinstance(second, Tensor):
        return type(first) is type(second) and bool(first == second)
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    return bool(((first == second) | ((first != first) & (second != second))).all())


@torch.no_grad()
def same_in_eval(model: nn.Module, traced: nn.Module, probes: Iterable[Tensor]) -> bool:
    """Whether both give the same outputs in eval, under the same forked seed."""
    reference = replica(model).eval()
    traced.eval()
    return all(same(_run(reference, x), _run(traced, x)) for x in probes)


@torch.no_grad()
def difference_in_train(model: nn.Module, traced: nn.Module, x: Tensor) -> str:
    """Why the two differ in train under the same forked seed; empty if they don't.

    Compared are the outputs and the floating-point buffers that both have, such as running
    statistics, afterwards.
    """
    reference, candidate = replica(model).train(), replica(traced).train()
    try:
        expected = _run(reference, x)
    # Any failure of foreign code means the same: the model itself does not run in train.
    except Exception as error:
        return f"the model does not run in train ({type(error).__name__})"
    try:
        outputs = _run(candidate, x)
    except Exception as error:
        return f"the traced graph does not run in train ({type(error).__name__})"
    if not same(expected, outputs):
        return "in train, its outputs differ from the traced graph's"
    theirs = dict(candidate.named_buffers())
    for name, value in reference.named_buffers():
        if name in theirs and value.is_floating_point() and not same(value, theirs[name]):
            return f"in train, buffer {name} is updated differently"
    return ""


def _run(module: nn.Module, x: Tensor) -> Any:
    with _STREAM.as_global():
        return module(x.clone())
