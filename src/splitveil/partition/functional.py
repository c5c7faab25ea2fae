"""Make a traced graph free of side effects, and give its mode-dependent steps back their mode.

In-place operations become functional, so that a tensor means the same wherever it is read. Dropout
and batch normalisation called as functions become modules that follow `train()` and `eval()`.
"""

import inspect
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch._ops import OpOverload

_OPERATORS = {
    getattr(operator, f"i{name}"): getattr(operator, name)
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")
}
_DROPOUTS: dict[str, type[nn.Module]] = {
    "dropout": nn.Dropout,
    "dropout1d": nn.Dropout1d,
    "dropout2d": nn.Dropout2d,
    "dropout3d": nn.Dropout3d,
    "feature_dropout": nn.Dropout2d,
    "alpha_dropout": nn.AlphaDropout,
    "feature_alpha_dropout": nn.FeatureAlphaDropout,
}


class ModalBatchNorm(nn.Module):
    """Batch normalisation by given statistics in eval, by the batch's in train."""

    def __init__(self, momentum: float, eps: float) -> None:
        nn.Module.__init__(self)
        self.momentum = momentum
        self.eps = eps

    def forward(
        self,
        x: Tensor,
        mean: Tensor | None,
        variance: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
    ) -> Tensor:
        """Normalise x and, in train, move mean and variance towards the batch's."""
        return F.batch_norm(x, mean, variance, weight, bias, self.training, self.momentum, self.eps)


def make_modules_functional(model: nn.Module) -> None:
    """Switch off every module's `inplace`."""
    for module in model.modules():
        if getattr(module, "inplace", False) is True:
            module.__dict__["inplace"] = False


def make_functional(model: nn.Module, graph: fx.Graph) -> None:
    """Rewrite in-place operations; later readers of a changed tensor read the new one."""
    order = {node: index for index, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        if node.op == "call_module" and type(model.get_submodule(node.target)) is nn.Identity:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif _rewrite(node):
            changed = node.args[0] if node.args else next(iter(node.kwargs.values()))
            for user in list(changed.users):
                if order[user] > order[node]:
                    user.replace_input_with(changed, node)


def _rewrite(node: fx.Node) -> bool:
    """Make one node functional; True if it changed its first argument before."""
    if node.op == "call_method":
        name = str(node.target)
        twin = name.removesuffix("_")
        if twin == name or name.endswith("__") or not hasattr(Tensor, twin):
            return False
        node.target = twin
        return twin != "requires_grad"
    if node.op != "call_function":
        return False
    if node.target in _OPERATORS:
        node.target = _OPERATORS[node.target]
        return True
    if isinstance(node.target, OpOverload):
        return _rewrite_aten(node, node.target)
    return _rewrite_inplace_flag(node) or _rewrite_function(node)


def _rewrite_aten(node: fx.Node, target: OpOverload) -> bool:
    namespace, _, name = target._schema.name.partition("::")
    twin = name.removesuffix("_")
    packet = getattr(getattr(torch.ops, namespace), twin, None) if twin != name else None
    overload = getattr(packet, target._overloadname, None)
    if overload is None or twin == "fill":
        return False
    node.target = overload
    return True


def _rewrite_function(node: fx.Node) -> bool:
    """`torch.relu_` and its like."""
    name = getattr(node.target, "__name__", "")
    if not name.endswith("_") or name.endswith("__"):
        return False
    for holder in (torch, F):
        twin = getattr(holder, name[:-1], None)
        if getattr(holder, name, None) is node.target and twin is not None:
            node.target = twin
            return True
    return False


def _rewrite_inplace_flag(node: fx.Node) -> bool:
    """`F.relu(x, inplace=True)` and its like."""
    if node.kwargs.get("inplace") is True:
        node.kwargs = {**node.kwargs, "inplace": False}
        return True
    index = _position(node.target, "inplace")
    if index is None or len(node.args) <= index or node.args[index] is not True:
        return False
    node.args = (*node.args[:index], False, *node.args[index + 1 :])
    return True


def _position(function: Callable[..., Any] | str, name: str) -> int | None:
    if isinstance(function, str):
        return None
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None
    return names.index(name) if name in names else None


def restore_modes(model: nn.Module, graph: fx.Graph) -> None:
    """Turn functional dropout and batch normalisation traced in eval into modules."""
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        name = operation(node)
        if name == "batch_norm":
            _restore_batch_norm(model, graph, node)
        elif name in _DROPOUTS:
            _restore_dropout(model, graph, node, _DROPOUTS[name])


def operation(node: fx.Node) -> str:
    """The bare name of a function or method node, without overload and in-place mark."""
    if isinstance(node.target, OpOverload):
        return node.target._schema.name.partition("::")[2].rstrip("_")
    return str(getattr(node.target, "__name__", node.target)).rstrip("_")


def _arguments(node: fx.Node, names: tuple[str, ...]) -> dict[str, Any]:
    return {**dict(zip(names, node.args, strict=False)), **node.kwargs}


def _innermost(model: nn.Module, node: fx.Node) -> tuple[str, nn.Module]:
    scope = node.meta["scope"]
    path = scope[-1].partition("@")[0] if scope else ""
    return path, model.get_submodule(path)


def _restore_dropout(
    model: nn.Module, graph: fx.Graph, node: fx.Node, kind: type[nn.Module]
) -> None:
    aten = isinstance(node.target, OpOverload) or node.target in (torch.dropout,)
    given = _arguments(node, ("input", "p", "train" if aten else "training"))
    if given.get("train" if aten else "training", True) is not False:
        return  # active in eval too: not a matter of mode
    path, module = _innermost(model, node)
    if type(module) is not kind:
        path = _add(model, "dropout", kind(p=given.get("p", 0.5)))
    _replace(graph, node, path, (given["input"],))


def _restore_batch_norm(model: nn.Module, graph: fx.Graph, node: fx.Node) -> None:
    if isinstance(node.target, OpOverload) or node.target is torch.batch_norm:
        names = ("input", "weight", "bias", "running_mean", "running_var", "training")
    else:
        names = ("input", "running_mean", "running_var", "weight", "bias", "training")
    given = _arguments(node, (*names, "momentum", "eps"))
    if given.get("training", False) is not False:
        return
    path, module = _innermost(model, node)
    if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
        _replace(graph, node, path, (given["input"],))
        return
    modal = ModalBatchNorm(given.get("momentum", 0.1), given.get("eps", 1e-5))
    if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.momentum is not None:
        modal.momentum = module.momentum  # traced in eval as 0
    tensors = ("input", "running_mean", "running_var", "weight", "bias")
    _replace(
        graph, node, _add(model, "batch_norm", modal), tuple(given.get(name) for name in tensors)
    )


def _add(model: nn.Module, stem: str, module: nn.Module) -> str:
    index = sum(name.startswith(f"_{stem}_") for name, _ in model.named_children())
    model.add_module(f"_{stem}_{index}", module.train(model.training))
    return f"_{stem}_{index}"


def _replace(graph: fx.Graph, node: fx.Node, path: str, args: tuple[Any, ...]) -> None:
    with graph.inserting_before(node):
        twin = graph.call_module(path, args)
    twin.meta = dict(node.meta)
    node.replace_all_uses_with(twin)
    graph.erase_node(node)
