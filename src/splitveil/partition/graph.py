"""Trace any network into a graph that is the network, bit for bit."""

import copy
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, fx, nn

from splitveil.errors import AuditError, BadModel, UnsupportedCut
from splitveil.partition.exported import trace_export
from splitveil.partition.flow import observe, probe, recompute_sizes
from splitveil.partition.functional import (
    make_functional,
    make_modules_functional,
    operation,
    restore_modes,
)
from splitveil.partition.fx_tracer import trace_fx
from splitveil.partition.naming import outline
from splitveil.partition.traced import Traced
from splitveil.partition.verify import difference_in_train, replica, same_in_eval

_Tracing = Callable[[nn.Module, Tensor], tuple[nn.Module, fx.Graph]]


def trace(model: nn.Module, example: Tensor) -> Traced:
    """A graph of the model in which every cut can be found, verified to equal the model.

    The model itself, its mode, parameters, buffers and hooks, stays untouched. Tried in turn are
    torch.fx, where a module that cannot be traced becomes one operation, and torch.export.

    Args:
        model: maps images (n, c, h, w) in [0, 1] to a tensor or to a structure of tensors.
        example: at least one image; sizes but not the batch are taken from it.

    Raises:
        BadModel: if the example is empty, a weight is not finite, or the model fails on it.
        UnsupportedCut: if neither tracer gives a graph that equals the model; says why.
    """
    _check(model, example)
    reasons: list[str] = []
    last: Exception | None = None
    for name, tracing in (("fx", _by_fx), ("export", _by_export)):
        try:
            return _attempt(name, tracing, model, example)
        # Tracers and foreign code raise anything; every failure means: try the next.
        except Exception as error:
            text = str(error) if isinstance(error, AuditError) else _brief(error)
            reasons.append(f"{name}: {text}")
            last = error
    raise UnsupportedCut(
        f"this model cannot be cut ({'; '.join(reasons)}): make its forward free of branches on "
        "data, or give the layers before such code as the model"
    ) from last


def _check(model: nn.Module, example: Tensor) -> None:
    if example.dim() < 2 or len(example) == 0:
        raise BadModel(f"the example must hold at least one image, got {tuple(example.shape)}")
    broken = [name for name, p in model.named_parameters() if not bool(torch.isfinite(p).all())]
    # An infinite buffer may be an attention mask; NaN is never meant.
    broken += [name for name, b in model.named_buffers() if bool(torch.isnan(b).any())]
    if broken:
        raise BadModel(f"weights '{broken[0]}' hold NaN or infinity: load or train the model anew")
    trial = replica(model).eval()
    try:
        with torch.no_grad():
            trial(example[:1].clone())
    except Exception as error:
        raise BadModel(
            f"the model fails on an image of shape {tuple(example.shape[1:])}: {_brief(error)}"
        ) from error


def _attempt(name: str, tracing: _Tracing, model: nn.Module, example: Tensor) -> Traced:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracers warn of each other's deprecations
        root, graph = tracing(model, example)
    make_functional(root, graph)
    restore_modes(root, graph)
    _drop_unread(graph)
    images = probe(example)
    facts, sizes = observe(root, graph, images)
    if _guard_inputs(graph, [node for node in facts if facts[node].mutates]):
        facts, sizes = observe(root, graph, images)
    recompute_sizes(graph, sizes)
    _drop_unread(graph)
    graph.lint()
    module = fx.GraphModule(root, graph).eval()
    if not same_in_eval(model, module, (images, example[:8])):
        raise UnsupportedCut("the traced graph's outputs differ from the model's")
    difference = difference_in_train(model, module, images)
    notes = [f"inference only: {difference}"] if difference else []
    mixing = [node for node in graph.nodes if node in facts and facts[node].mixes]
    if mixing:
        notes.append(f"images of one batch influence each other at {mixing[0].name}")
    pairs = zip(module.graph.nodes, graph.nodes, strict=True)
    return Traced(
        module=module,
        facts={mine: facts[node] for mine, node in pairs if node in facts},
        outlines=outline(root),
        tracer=name,
        trainable=not difference,
        notes=tuple(notes),
    )


def _functional(twin: nn.Module) -> nn.Module:
    twin.eval()
    make_modules_functional(twin)
    return twin


def _by_export(model: nn.Module, example: Tensor) -> tuple[nn.Module, fx.Graph]:
    return trace_export(_functional(copy.deepcopy(model)), probe(example))


def _by_fx(model: nn.Module, example: Tensor) -> tuple[nn.Module, fx.Graph]:
    """Trace in eval and in train; modules that run other code in train stay whole."""
    leaves: frozenset[str] = frozenset()
    while True:
        root, graph = trace_fx(_functional(replica(model)), leaves)
        try:
            _, training = trace_fx(_functional(replica(model)).train(), leaves)
        except Exception:
            break
        more = _modal(root, graph, training) - leaves
        if not more:
            break
        leaves |= more
    clean = _functional(copy.deepcopy(model))
    for name, value in root.named_buffers():
        if name.startswith("_tensor_constant"):
            clean.register_buffer(name, value, persistent=False)
    return clean, graph


def _modal(root: nn.Module, graph: fx.Graph, training: fx.Graph) -> frozenset[str]:
    """Modules whose own code differs between eval and train, but for what is restored anyway."""
    ours, theirs = _code(root, graph), _code(root, training)
    differing = {
        call.partition("@")[0] for call in ours | theirs if ours.get(call) != theirs.get(call)
    }
    return frozenset(
        path
        for path in differing
        if path and not isinstance(root.get_submodule(path), nn.modules.batchnorm._BatchNorm)
    )


def _code(root: nn.Module, graph: fx.Graph) -> dict[str, list[tuple[str, ...]]]:
    """Per module call, its own steps with their constant arguments."""
    code: dict[str, list[tuple[str, ...]]] = {}
    for node in graph.nodes:
        scope = node.meta.get("scope", ())
        name = str(node.target) if node.op in ("get_attr", "call_module") else operation(node)
        settings = fx.map_arg((node.args, node.kwargs), lambda _: None)
        restored = "dropout" in name or name == "batch_norm"
        line = (node.op, name, "" if restored else repr(settings))
        if scope and node.op != "get_attr":
            code.setdefault(scope[-1], []).append(line)
    return code


def _drop_unread(graph: fx.Graph) -> None:
    """Erase what nobody reads; a step without readers may still change what others read."""
    for node in reversed(list(graph.nodes)):
        acts = node.op in ("placeholder", "output") or str(node.target).endswith("_")
        acts = acts or "_." in str(node.target) or getattr(node.target, "__name__", "") == "setitem"
        if not node.users and not acts:
            graph.erase_node(node)


def _guard_inputs(graph: fx.Graph, nodes: list[fx.Node]) -> bool:
    """Let modules that change their inputs change a copy; True if there are any.

    Raises:
        UnsupportedCut: if a function changes its input, since others may read it through a view.
    """
    for node in nodes:
        if node.op != "call_module":
            raise UnsupportedCut(f"step '{node.name}' changes a tensor in place that others read")
        for given in list(node.all_input_nodes):
            with graph.inserting_before(node):
                twin = graph.call_method("clone", (given,))
            twin.meta = {"scope": node.meta["scope"]}
            node.replace_input_with(given, twin)
    return bool(nodes)


def _brief(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"{type(error).__name__}: {line[:160]}"
