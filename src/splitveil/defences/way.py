"""What lies between head and tail while a network is trained, and where it is grafted on."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from splitveil.defences.base import Structure
from splitveil.errors import BadPlan, UnsupportedCut
from splitveil.nets.carriers import shape_behind
from splitveil.partition import Cut, Partition, Traced, trace
from splitveil.partition.layout import Layout, Part
from splitveil.shapes import Images


@dataclass(frozen=True, eq=False)
class Way:
    """What lies between head and tail: structures in order, and the layout behind each.

    `layouts[0]` is the cut's own; `path` names the module behind which structures are grafted.
    """

    partition: Partition
    structures: tuple[Structure, ...]
    layouts: tuple[Layout, ...]
    path: str | None

    @staticmethod
    def of(network: nn.Module, cut: str | Cut, example: Images) -> "Way":
        """Split a network in eval at a cut.

        Raises:
            UnsupportedCut: if the split halves cannot be trained.
            UnknownName: if there is no such cut.
        """
        traced = trace(network, example)
        if not traced.trainable:
            raise UnsupportedCut(
                "this network can be split for inference only, so nothing can be trained at a cut: "
                f"harden it without one ({'; '.join(traced.notes)})"
            )
        found = traced.cut(cut) if isinstance(cut, str) else cut
        own = dict(network.named_parameters())
        if any(name not in own for name, _ in traced.module.named_parameters()):
            raise UnsupportedCut("the traced network names its weights otherwise: harden uncut")
        partition = traced.split(found)
        return Way(partition, (), (found.layout,), graft_path(network, traced, found, example))

    def with_structure(self, structure: Structure, name: str) -> "Way":
        """One structure more, behind those there are.

        Raises:
            BadPlan: if the cut is not the output of a module, or the cloud does not lead back.
        """
        (part,) = self.layouts[-1].parts
        if self.path is None:
            raise BadPlan(
                f"{name} goes behind a module, and nothing but {self.partition.cut.name} crosses "
                "at this cut: choose a cut named after a module"
            )
        shape = shape_behind(structure.device, part.shape)
        back = shape_behind(structure.cloud, shape)
        if back != part.shape:
            raise BadPlan(f"{name} turns {part.shape} into {shape} and back into {back}")
        layout = Layout((Part(part.name, shape),))
        return Way(
            self.partition, (*self.structures, structure), (*self.layouts, layout), self.path
        )


@torch.no_grad()
def graft_path(network: nn.Module, traced: Traced, cut: Cut, example: Images) -> str | None:
    """The module whose output is what crosses, the outermost of several; None without one."""
    if (
        len(cut.layout.parts) > 1
        or cut.layout.parts[0].multiplicity > 1
        or cut.layout.parts[0].axis
    ):
        return None
    wanted = traced.features(example, [cut])[cut.id]
    calls: dict[str, list[bool]] = {}

    def watcher(path: str) -> Callable[[nn.Module, object, object], None]:
        def watch(module: nn.Module, given: object, output: object) -> None:
            # compared at once: a later layer may work in place
            same = isinstance(output, Tensor) and output.shape[1:] == cut.layout.parts[0].shape
            calls.setdefault(path, []).append(
                same and torch.equal(output.flatten(1), wanted)  # type: ignore[attr-defined]
            )

        return watch

    twin = deepcopy(network).eval()
    for path, module in twin.named_modules():
        if path:
            module.register_forward_hook(watcher(path))
    twin(example)
    found = [path for path, hits in calls.items() if hits == [True]]
    named = [path for path in found if path == cut.name or path.endswith(f".{cut.name}")]
    best = named or found
    return best[-1] if best else None
