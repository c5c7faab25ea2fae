"""The network that training starts from, where components put another in the source's place."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from splitveil.defences.base import Component, Setting
from splitveil.defences.objective import own_setting
from splitveil.defences.pipeline import open_setting
from splitveil.defences.way import Way
from splitveil.errors import BadPlan
from splitveil.models import PixelModel
from splitveil.models.grafts import stored_grafts
from splitveil.models.weights import read_weights, stored_normalisation
from splitveil.partition import Cut

WEIGHTS = "weights.safetensors"


def begun(
    components: Sequence[Component], setting: Setting, cut: str | Cut | None
) -> tuple[nn.Module, tuple[dict[str, Any], ...]]:
    """The network to start from, and how its structure differs from that of `setting.source`.

    Raises:
        BadPlan: if a component's network does not fit the source.
    """
    changes: tuple[dict[str, Any], ...] = ()
    for place, component in enumerate(components):
        if type(component).begin is Component.begin:
            continue
        assert setting.x is not None  # noqa: S101 - harden gives images
        way = None if cut is None else Way.of(setting.source, cut, setting.x[:2])
        found = component.begin(own_setting(open_setting(setting, way), component, place))
        if found is not None:
            setting = replace(setting, source=found.network)
            changes += found.changes
    return setting.source, changes


class Stored:
    """A network that a hardening wrote: tensors by the source's names, and its structures.

    Raises:
        BadPlan: if there are no weights at `path`, or they expect other pixels than `source`.
        BadModel: if they cannot be read.
    """

    def __init__(self, path: str | Path, source: nn.Module, component: Component) -> None:
        file = Path(path)
        file = file / WEIGHTS if file.is_dir() else file
        if not file.is_file():
            raise BadPlan(f"{component}: no weights at {file}: give a folder that harden wrote")
        self.prefix = "network." if isinstance(source, PixelModel) else ""
        self.path, self._component = file, component
        self.changes = stored_grafts(file)
        self._state = {self.prefix + k: v for k, v in read_weights(file).items()}
        expected = stored_normalisation(file)
        if expected is not None and isinstance(source, PixelModel):
            own = tuple(tuple(t.flatten().tolist()) for t in (source.mean, source.std))
            if any(
                len(a) != len(b) or max(map(_apart, a, b)) > 1e-6
                for a, b in zip(own, expected, strict=True)
            ):
                raise BadPlan(
                    f"{component}: {file} expects mean and std {expected}, the network {own}: give "
                    "--mean and --std alike"
                )

    def tensor(self, name: str, like: Tensor) -> Tensor:
        """The tensor of that name in the source's terms.

        Raises:
            BadPlan: if there is none, or it has another shape.
        """
        found = self._state.get(self._moved(name))
        if found is None:
            raise BadPlan(f"{self._component}: {self.path} has no '{name}': it is another network")
        if found.shape != like.shape:
            raise BadPlan(
                f"{self._component}: '{name}' is {tuple(found.shape)} in {self.path} and "
                f"{tuple(like.shape)} in the network: give one of the same shape"
            )
        return found

    def at(self, name: str) -> dict[str, Tensor]:
        """The tensors below a module of the stored network, by their names there."""
        path = f"{self.prefix}{name}."
        return {k.removeprefix(path): v for k, v in self._state.items() if k.startswith(path)}

    def _moved(self, name: str) -> str:
        """A tensor's name in the file: a module that carries a structure is its body there."""
        for change in self.changes:
            path = f"{self.prefix}{change['at']}"
            if "device" in change and name.startswith(f"{path}."):
                return f"{path}.body{name[len(path) :]}"
        return name


def _apart(a: float, b: float) -> float:
    return abs(a - b)
