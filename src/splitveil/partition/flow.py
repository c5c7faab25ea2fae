"""What flows through a traced graph: which values depend on the input, and how on the batch.

The graph is run in lockstep on three batches: n images, n' images, and n images of which one was
changed. Sizes that differ between the first two lie on the batch axis; rows that differ between the
first and the third belong to the changed image.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import reduce
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from splitveil.errors import UnsupportedCut
from splitveil.partition.layout import Part

_ROWS, _OTHER_ROWS, _CHANGED = 5, 3, 1
_SIZES = {"size", "dim", "numel", "nelement", "ndimension", "sym_size", "sym_numel", "__len__"}
_ATTRIBUTES = {"shape", "ndim"}


class Origin(IntEnum):
    """What a value depends on; only DATA can cross a cut, the others are recomputed."""

    STATIC = 0
    BATCH = 1
    DATA = 2


@dataclass(frozen=True)
class Fact:
    """What is known of a value that depends on the input.

    `part` is None where the value cannot be packed, with the `obstacle`; `flops` and `values` are
    per image; `mixes` says that a change of one image moved rows of others; `mutates` that the node
    changes one of its own inputs.
    """

    part: Part | None
    obstacle: str = ""
    flops: float = 0.0
    values: int = 0
    mixes: bool = False
    mutates: bool = False


class FlopCount(TorchDispatchMode):
    """Sums torch's own FLOP formulas; unlike its counter, it does not import the compiler."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def batch_size(x: Tensor) -> int:
    """Images in x, or rows in a packed z."""
    return x.shape[0]


def device_of(x: Tensor) -> torch.device:
    """Where x is, and with it everything that is computed from it."""
    return x.device


def affine_size(n: int, slope: int, offset: int) -> int:
    """A size that grows with the batch: slope n + offset."""
    return slope * n + offset


def affine_sizes(n: int, pairs: tuple[tuple[int, int], ...]) -> torch.Size:
    """Sizes that may grow with the batch, as (slope, offset) pairs."""
    return torch.Size(slope * n + offset for slope, offset in pairs)


def origins(graph: fx.Graph) -> dict[fx.Node, Origin]:
    """Of each node, the strongest thing it depends on."""
    found: dict[fx.Node, Origin] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            found[node] = Origin.DATA
        elif node.target in (batch_size, device_of):
            found[node] = Origin.BATCH
        else:
            found[node] = max((found[i] for i in node.all_input_nodes), default=Origin.STATIC)
    return found


def execute(node: fx.Node, values: Mapping[fx.Node, Any], module: nn.Module) -> Any:
    """One node's value, from the values before it."""
    if node.op == "get_attr":
        return reduce(getattr, str(node.target).split("."), module)
    args = fx.map_arg(node.args, values.__getitem__)
    kwargs = fx.map_arg(node.kwargs, values.__getitem__)
    if node.op == "call_module":
        return module.get_submodule(str(node.target))(*args, **kwargs)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    if node.op == "call_function":
        function: Callable[..., Any] = node.target  # type: ignore[assignment]
        return function(*args, **kwargs)
    return _plain(args[0])


def _plain(value: Any) -> Any:
    """The model's own containers in place of fx's immutable ones."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, tuple):
        items = (_plain(item) for item in value)
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value


def last_uses(graph: fx.Graph) -> dict[fx.Node, list[fx.Node]]:
    """For each node, the values that nobody reads after it."""
    dying: dict[fx.Node, list[fx.Node]] = {node: [] for node in graph.nodes}
    seen: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        for value in (node, *node.all_input_nodes):
            if value not in seen:
                seen.add(value)
                dying[node].append(value)
    return dying


def probe(example: Tensor) -> Tensor:
    """Distinct images like the example, made without a random generator."""
    rows = [example[index % len(example)] for index in range(_ROWS)]
    if not example.is_floating_point():
        return torch.stack(rows)
    ramp = torch.linspace(0, 1, rows[0].numel(), dtype=example.dtype, device=example.device)
    waves = [torch.sin(ramp * (37 * index)).reshape_as(rows[0]) for index in range(_ROWS)]
    return torch.stack([(0.7 * r + 0.3 * w * w) for r, w in zip(rows, waves, strict=True)])


@torch.no_grad()
def observe(
    module: nn.Module, graph: fx.Graph, images: Tensor
) -> tuple[dict[fx.Node, Fact], dict[fx.Node, tuple[Any, Any]]]:
    """Run the graph on three batches in lockstep.

    Returns:
        Facts of all values that depend on the input, and, of sizes read from such tensors, the two
        values for the two batch sizes.
    """
    changed = images.clone()
    changed[_CHANGED] = images[_CHANGED].flip(-1) if images.dim() > 1 else images[0]
    if images.is_floating_point():
        changed[_CHANGED] = 1 - 0.9 * changed[_CHANGED]
    runs: tuple[dict[fx.Node, Any], ...] = ({}, {}, {})
    source, dying = origins(graph), last_uses(graph)
    facts: dict[fx.Node, Fact] = {}
    sizes: dict[fx.Node, tuple[Any, Any]] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            results: list[Any] = [images, images[:_OTHER_ROWS], changed]
            flops, mutates = 0, False
        else:
            mutates = _versions_move(node, runs[0], module, results := [])
            with FlopCount() as counter:
                results.append(execute(node, runs[1], module))
            flops = counter.total
            results.append(execute(node, runs[2], module))
        for values, result in zip(runs, results, strict=True):
            values[node] = result
        if source[node] is Origin.DATA and node.op != "output":
            if reads_size(node):
                sizes[node] = (results[0], results[1])
            facts[node] = _fact(node, results, flops / _OTHER_ROWS, mutates=mutates)
        for dead in dying[node]:
            for values in runs:
                del values[dead]
    return facts, sizes


def _versions_move(
    node: fx.Node, values: dict[fx.Node, Any], module: nn.Module, results: list[Any]
) -> bool:
    """Execute a node; whether it changed a tensor it was given."""
    given = [values[i] for i in node.all_input_nodes if isinstance(values[i], Tensor)]
    before = [tensor._version for tensor in given]
    results.append(execute(node, values, module))
    return before != [tensor._version for tensor in given]


def reads_size(node: fx.Node) -> bool:
    """Whether a node asks a tensor for its shape, a size, or its number of axes."""
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] in _ATTRIBUTES
    name = getattr(node.target, "__name__", str(node.target)).partition(".")[0]
    return node.op in ("call_method", "call_function") and name in _SIZES


def _fact(node: fx.Node, results: list[Any], flops: float, *, mutates: bool) -> Fact:
    first, second, third = results
    if not isinstance(first, Tensor):
        return Fact(None, "it is not a tensor", flops, mutates=mutates)
    obstacle = ""
    axes = [i for i, (a, b) in enumerate(zip(first.shape, second.shape, strict=False)) if a != b]
    if first.dim() != second.dim() or len(axes) != 1:
        obstacle = f"it has {len(axes)} axes that grow with the batch"
    elif first.shape[axes[0]] % _ROWS or (
        first.shape[axes[0]] // _ROWS * _OTHER_ROWS != second.shape[axes[0]]
    ):
        obstacle = "its batch axis is not a multiple of the batch"
    elif first.is_sparse or first.is_complex():
        obstacle = "it is not a dense real tensor"
    if obstacle:
        return Fact(None, obstacle, flops, mutates=mutates)
    axis = axes[0]
    multiplicity = first.shape[axis] // _ROWS
    differ = (first != third) & ~((first != first) & (third != third))
    rows = differ.movedim(axis, 0).flatten(1).any(1) if differ.numel() else differ.flatten()
    moved = set(rows.nonzero().flatten().tolist())
    own = set(range(_CHANGED * multiplicity, (_CHANGED + 1) * multiplicity))
    spread = set(range(_CHANGED, _ROWS * multiplicity, _ROWS))
    interleaved = not moved <= own and moved <= spread
    shape = tuple(first.shape[:axis]) + tuple(first.shape[axis + 1 :])
    part = Part(
        name=node.name,
        shape=shape,
        axis=axis,
        multiplicity=multiplicity,
        dtype=str(first.dtype).removeprefix("torch."),
        interleaved=interleaved,
        strides=_stride_order(first),
    )
    mixes = not moved <= own and not interleaved
    if mixes and multiplicity > 1:
        return Fact(None, "its rows do not belong to single images", flops, mutates=mutates)
    return Fact(part, "", flops, part.size, mixes, mutates)


def _stride_order(tensor: Tensor) -> tuple[int, ...]:
    """Axes from the widest stride to the narrowest; empty where that is their own order."""
    strides = tensor.stride()
    order = sorted(range(tensor.dim()), key=strides.__getitem__, reverse=True)
    return () if order == sorted(order) or tensor.is_contiguous() else tuple(order)


def recompute_sizes(graph: fx.Graph, sizes: Mapping[fx.Node, tuple[Any, Any]]) -> None:
    """Derive every size from the number of images, so that no size need cross a cut.

    Raises:
        UnsupportedCut: if a size does not grow linearly with the batch.
    """
    entry = next(node for node in graph.nodes if node.op == "placeholder")
    with graph.inserting_after(entry):
        count = graph.call_function(batch_size, (entry,))
    with graph.inserting_after(count):
        device = graph.call_function(device_of, (entry,))
    source = origins(graph)
    for node in (count, device):
        node.meta["scope"] = ()
    for node in list(graph.nodes):
        twin = None
        if node in sizes:
            with graph.inserting_before(node):
                twin = _size_node(graph, count, *sizes[node])
        elif node.target is getattr and source[node] is Origin.DATA and node.args[1] == "device":
            twin = device
        if twin is not None:
            twin.meta.setdefault("scope", node.meta["scope"])
            node.replace_all_uses_with(twin)
            graph.erase_node(node)
    for node in (device, count):
        if not node.users:
            graph.erase_node(node)


def _size_node(graph: fx.Graph, count: fx.Node, first: Any, second: Any) -> fx.Node:
    if isinstance(first, int):
        return graph.call_function(affine_size, (count, *_line(first, second)))
    pairs = tuple(_line(a, b) for a, b in zip(first, second, strict=True))
    return graph.call_function(affine_sizes, (count, pairs))


def _line(first: int, second: int) -> tuple[int, int]:
    slope, rest = divmod(first - second, _ROWS - _OTHER_ROWS)
    if rest:
        raise UnsupportedCut(
            f"a size of {first} for {_ROWS} images and {second} for {_OTHER_ROWS} does not grow "
            "linearly with the batch: compute it from static shapes"
        )
    return slope, first - slope * _ROWS
