"""Names a person recognises for a graph's tensors, the same under every tracer."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, count

from torch import fx, nn

from splitveil.partition.functional import operation
from splitveil.partition.types import CutKind

_ACTIVATIONS = frozenset(
    (
        "relu",
        "relu6",
        "leakyrelu",
        "prelu",
        "rrelu",
        "elu",
        "selu",
        "celu",
        "gelu",
        "silu",
        "mish",
        "sigmoid",
        "tanh",
        "softplus",
        "softsign",
        "hardtanh",
        "hardswish",
        "hardsigmoid",
        "hardshrink",
        "softshrink",
        "logsigmoid",
        "threshold",
        "glu",
    )
)
_LINEAR = frozenset(("linear", "bilinear", "lazylinear"))
_VIEWS = frozenset(
    (
        "view",
        "reshape",
        "flatten",
        "unflatten",
        "squeeze",
        "unsqueeze",
        "transpose",
        "permute",
        "contiguous",
        "t",
        "swapaxes",
        "movedim",
        "moveaxis",
        "getitem",
        "select",
        "slice",
        "to",
        "float",
        "chunk",
        "split",
        "unbind",
        "viewas",
        "reshapeas",
    )
)


@dataclass(frozen=True)
class Label:
    """How a tensor is called.

    `name` is for people; `identity` (module path, kind of step, occurrence) goes into a cut's id;
    `kind` says after what a cut at this tensor lies.
    """

    name: str
    identity: tuple[str, str, int]
    kind: CutKind
    view: bool


@dataclass(frozen=True)
class Outline:
    """What names need to know of a module: its class, and whether it is a block or a single step.

    A block is a module, not a mere sequence, that holds two or more modules with parameters.
    """

    kind: str
    block: bool
    single: bool


def outline(model: nn.Module) -> dict[str, Outline]:
    """Outlines of a model's modules by path, the model itself left out."""
    return {path: _outline(module) for path, module in model.named_modules() if path}


def _outline(module: nn.Module) -> Outline:
    plain = type(module) in (nn.Sequential, nn.ModuleList, nn.ModuleDict)
    holders = (any(True for _ in part.parameters(recurse=False)) for part in module.modules())
    return Outline(
        kind=type(module).__name__,
        block=not plain and sum(holders) > 1,
        single=type(module).__module__.startswith("torch.nn") or not any(module.children()),
    )


def step(node: fx.Node, root: nn.Module) -> str:
    """What a node does, spelt the same for modules, functions, methods and ATen."""
    if node.op == "call_module":
        name = _class(root.get_submodule(str(node.target))).__name__
        return _plain(re.sub(r"(?<=BatchNorm)\dd$", "", name.removeprefix("Modal")))
    return _plain(operation(node))


def _class(module: nn.Module) -> type[nn.Module]:
    """The module's class, or the torch layer it is a variety of."""
    lineage = type(module).__mro__
    known = (c for c in lineage if c.__module__.startswith("torch.nn") and c is not nn.Module)
    return next(known, type(module))


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def label(
    root: nn.Module, outlines: Mapping[str, Outline], nodes: Iterable[fx.Node]
) -> dict[fx.Node, Label]:
    """Labels of the given nodes, which must be in graph order.

    Args:
        root: holds the modules that nodes call.
        outlines: of the modules named in the nodes' scopes.
        nodes: those to name.
    """
    nodes = list(nodes)
    prefix = _wrapper(root)
    returned = _returns(nodes)
    labels: dict[fx.Node, Label] = {}
    steps: Counter[tuple[str, str]] = Counter()
    taken: set[str] = set()
    for node in nodes:
        scope = node.meta["scope"]
        inner, what = (scope[-1] if scope else ""), step(node, root)
        own = [call for call in scope if returned.get(call) is node]
        steps[inner, what] += 1
        again = steps[inner, what]
        block = next((call for call in reversed(own) if outlines[_path(call)].block), None)
        if block is not None:
            shown = block
        elif own and own[-1] == inner and outlines[_path(inner)].single:
            shown = inner
        else:
            shown = _join(inner, operation(node) if node.op != "call_module" else what)
            shown += f"@{again - 1}" if again > 1 else ""
        name = _free(_show(shown, prefix), taken)
        if own:
            kind = outlines[_path(own[0])].kind
            identity = (_show(own[0], prefix), kind, 0)
        else:
            identity = (_show(inner, prefix), what, again)
        labels[node] = Label(
            name, identity, CutKind.BLOCK if block is not None else _kind(what), what in _VIEWS
        )
    return labels


def _free(name: str, taken: set[str]) -> str:
    """The name, with the first free number if it is taken."""
    stem = name.partition("#")[0]
    numbered = (f"{stem}#{number}" for number in count(2))
    name = next(candidate for candidate in chain((name,), numbered) if candidate not in taken)
    taken.add(name)
    return name


def _wrapper(root: nn.Module) -> str:
    """The path to leave out of names: that of a network inside a wrapper without parameters."""
    names = [name for name, _ in root.named_parameters()]
    wrapped = bool(names) and all(name.startswith("network.") for name in names)
    return "network" if wrapped else ""


def _show(call: str, prefix: str) -> str:
    path, _, again = call.partition("@")
    tail = path.removeprefix(prefix).lstrip(".") if prefix else path
    return f"{tail}#{int(again) + 1}" if again else tail


def _path(call: str) -> str:
    return call.partition("@")[0]


def _join(inner: str, name: str) -> str:
    path, _, again = inner.partition("@")
    return ".".join(filter(None, (path, name))) + (f"@{again}" if again else "")


def _returns(nodes: Iterable[fx.Node]) -> dict[str, fx.Node]:
    """For each module call that hands exactly one tensor on, that tensor."""
    handed: dict[str, set[fx.Node]] = {}
    for node in nodes:
        for call in node.meta["scope"]:
            if any(call not in user.meta.get("scope", ()) for user in node.users):
                handed.setdefault(call, set()).add(node)
    return {call: next(iter(found)) for call, found in handed.items() if len(found) == 1}


def _kind(what: str) -> CutKind:
    if re.match(r"(lazy)?conv(transpose)?\d?d?$", what):
        return CutKind.CONVOLUTION
    if what in _LINEAR:
        return CutKind.LINEAR
    if what in _ACTIVATIONS:
        return CutKind.ACTIVATION
    if "pool" in what or what == "mean":
        return CutKind.POOL
    return CutKind.OTHER
