"""Names a person recognises for a graph's tensors, the same under every tracer."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from torch import fx, nn

from splitveil.partition.functional import operation
from splitveil.partition.types import CutKind

_ACTIVATIONS = frozenset(
    "relu relu6 leakyrelu prelu rrelu elu selu celu gelu silu mish sigmoid tanh softplus softsign "
    "hardtanh hardswish hardsigmoid hardshrink softshrink logsigmoid threshold glu".split()
)
_LINEAR = frozenset(("linear", "bilinear", "lazylinear"))
_VIEWS = frozenset(
    "view reshape flatten unflatten squeeze unsqueeze transpose permute contiguous t swapaxes "
    "movedim moveaxis getitem select slice to float chunk split unbind viewas reshapeas".split()
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


def step(node: fx.Node, root: nn.Module) -> str:
    """What a node does, spelt the same for modules, functions, methods and ATen."""
    if node.op == "call_module":
        name = type(root.get_submodule(str(node.target))).__name__
        return _plain(re.sub(r"(?<=BatchNorm)\dd$", "", name.removeprefix("Modal")))
    return _plain(operation(node))


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def label(root: nn.Module, graph: fx.Graph, nodes: Iterable[fx.Node]) -> dict[fx.Node, Label]:
    """Labels of the given nodes, which must be in graph order."""
    nodes = list(nodes)
    prefix = _wrapper(root)
    returned = _returns(graph, nodes)
    labels: dict[fx.Node, Label] = {}
    steps: Counter[tuple[str, str]] = Counter()
    used: Counter[str] = Counter()
    for node in nodes:
        scope = node.meta["scope"]
        inner, what = (scope[-1] if scope else ""), step(node, root)
        own = [call for call in scope if returned.get(call) is node]
        steps[inner, what] += 1
        again = steps[inner, what]
        block = next((call for call in reversed(own) if _is_block(root, call)), None)
        if block is not None:
            shown = block
        elif own and own[-1] == inner and _is_leaf(root, inner):
            shown = inner
        else:
            shown = _join(inner, operation(node) if node.op != "call_module" else what)
            shown += f"@{again - 1}" if again > 1 else ""
        name = _show(shown, prefix)
        used[name] += 1
        name += f"#{used[name]}" if used[name] > 1 else ""
        if own:
            kind = type(root.get_submodule(_path(own[0]))).__name__
            identity = (_show(own[0], prefix), kind, 0)
        else:
            identity = (_show(inner, prefix), what, again)
        labels[node] = Label(
            name, identity, CutKind.BLOCK if block is not None else _kind(what), what in _VIEWS
        )
    return labels


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


def _returns(graph: fx.Graph, nodes: Iterable[fx.Node]) -> dict[str, fx.Node]:
    """For each module call that hands exactly one tensor on, that tensor."""
    handed: dict[str, set[fx.Node]] = {}
    for node in nodes:
        for call in node.meta["scope"]:
            if any(call not in user.meta.get("scope", ()) for user in node.users):
                handed.setdefault(call, set()).add(node)
    return {call: next(iter(found)) for call, found in handed.items() if len(found) == 1}


def _is_leaf(root: nn.Module, call: str) -> bool:
    module = root.get_submodule(_path(call))
    return type(module).__module__.startswith("torch.nn") or not any(module.children())


def _is_block(root: nn.Module, call: str) -> bool:
    """A module, not a mere sequence, that holds two or more modules with parameters."""
    module = root.get_submodule(_path(call))
    if type(module) in (nn.Sequential, nn.ModuleList, nn.ModuleDict):
        return False
    return sum(any(True for _ in part.parameters(recurse=False)) for part in module.modules()) > 1


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
