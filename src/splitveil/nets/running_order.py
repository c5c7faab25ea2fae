"""Modules in the order in which they first run, and the stages they form."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

from splitveil.nets.modes import evaluating
from splitveil.shapes import Images

_Size: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Leaf:
    """A module without children: its name, whether it has weights, the size (h, w) it gives.

    `weighted` is True with a parameter of two or more dimensions, so of convolutions, linear layers
    and embeddings, not of normalisation. `size` is None where it gives no map of pixels.
    """

    name: str
    weighted: bool
    size: _Size | None


def running_order(network: nn.Module, x: Images) -> tuple[Leaf, ...]:
    """Leaf modules in the order in which they first end, found by one pass in eval."""
    return _traced(network, x)[0]


def stages(network: nn.Module, x: Images) -> tuple[tuple[str, ...], ...]:
    """Names of leaf modules by stage, in running order; the head, after the last map, is no stage.

    A unit is the largest module inside which the size of maps changes once at most; a stage is a
    run of units that give the same size. So a residual block belongs wholly to the stage it opens,
    and a stem of its own size is a stage. Maps of one pixel, as of squeeze and excitation, do not
    count. Networks without maps, such as transformers on tokens, have no stages.
    """
    leaves, seen, entered = _traced(network, x)
    units = list(_units(network, "", seen, entered, [leaf.name for leaf in leaves]))
    found: list[list[str]] = []
    reached: _Size | None = None
    by_name = {leaf.name: leaf for leaf in leaves}
    for size, names in units:
        weighted = any(by_name[name].weighted for name in names)
        if weighted and size is None:
            break
        if weighted and size != reached:
            found.append([])
            reached = size
        if found:
            found[-1] += names
    return tuple(tuple(stage) for stage in found)


def _traced(
    network: nn.Module, x: Images
) -> tuple[tuple[Leaf, ...], dict[str, _Size | None], dict[str, _Size | None]]:
    """Leaves in order; the size each module gives, and is given."""
    leaves: dict[str, Leaf] = {}
    given: dict[str, _Size | None] = {}
    entered: dict[str, _Size | None] = {}

    def noter(name: str) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        def note(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            given.setdefault(name, _size(output))
            entered.setdefault(name, _size(inputs[0]) if inputs else None)
            if name and not any(module.children()):
                weighted = any(parameter.dim() > 1 for parameter in module.parameters())
                leaves.setdefault(name, Leaf(name, weighted, _size(output)))

        return note

    hooks = [module.register_forward_hook(noter(name)) for name, module in network.named_modules()]
    try:
        with evaluating(network):
            network(x)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(leaves.values()), given, entered


def _size(value: object) -> _Size | None:
    if not isinstance(value, Tensor) or value.dim() != 4 or value.shape[2:].numel() == 1:
        return None
    return int(value.shape[2]), int(value.shape[3])


def _units(
    network: nn.Module,
    path: str,
    given: dict[str, _Size | None],
    entered: dict[str, _Size | None],
    order: list[str],
) -> Iterator[tuple[_Size | None, list[str]]]:
    """The size each unit within a module gives, and its leaves, in running order."""
    module = network.get_submodule(path)
    names = [name for name in order if not path or name == path or name.startswith(f"{path}.")]
    if not names:
        return
    sizes = {given[name] for name in names} | {entered.get(path)} - {None}
    inner = [f"{path}.{name}" if path else name for name, _ in module.named_children()]
    if path and (not inner or len(sizes - {None}) <= 2):
        yield given.get(path, given[names[-1]]), names
        return
    firsts = {}
    for child in inner:
        within = [place for place, name in enumerate(order) if f"{name}.".startswith(f"{child}.")]
        if within:
            firsts[child] = min(within)
    for child in sorted(firsts, key=lambda one: firsts[one]):
        yield from _units(network, child, given, entered, order)
