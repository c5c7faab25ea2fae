"""Layers that stay as they are, bit for bit."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from splitveil.defences.base import Component, Part, Setting, written
from splitveil.errors import BadPlan, UnknownName


@dataclass(frozen=True)
class Freeze(Component):
    """Keeps layers as the source has them, BatchNorm statistics included; the rest is trained.

    `layers` is a module's name, such as stage2, or a count of layers with weights, from the end
    where negative: freeze(4) keeps the first four and what normalises them, freeze(-1) all but the
    last. A module's name stands for all that runs until it has answered (`span` "until"), from it
    on ("from"), or itself ("only"). Frozen modules stay in eval.

    Parameters held by a module that contains the named one, such as a class token, count as
    early layers.

    It misleads where "frozen" is read as "public": weights of the source may have seen private
    images already; the argument of transfer learning needs a source trained on others.

    Raises:
        BadPlan: if nothing or everything would be frozen.
    """

    name: ClassVar[str] = "freeze"
    reference: ClassVar[str] = "Ho et al. 2024 (TL-DMI)"

    layers: str
    span: Literal["until", "only", "from"] = "until"

    def prepare(self, setting: Setting) -> Part:
        assert setting.x is not None  # noqa: S101 - `harden` gives images
        order = _order(setting.source, setting.x[:1])
        names = self._by_count(order) if _whole(self.layers) else self._by_name(order, setting)
        held = [name for name, _ in setting.source.named_parameters() if _within(name, names)]
        if not held:
            raise BadPlan(f"{self}: no weights are there to freeze")
        trained = sum(1 for _ in setting.source.parameters()) - len(held)
        if not trained:
            raise BadPlan(f"{self}: nothing would be left to train; freeze less")
        return Part(frozen=tuple(names))

    def _by_count(self, order: "_Order") -> list[str]:
        weighted = [name for name in order.leaves if order.has_weights[name]]
        count = int(self.layers)
        count = len(weighted) + count if count < 0 else count
        if not 0 < count < len(weighted):
            raise BadPlan(
                f"{self}: the network has {len(weighted)} layers with weights; freeze between 1 "
                f"and {len(weighted) - 1} of them"
            )
        place = order.leaves.index(weighted[count])
        before, after = order.leaves[:place], order.leaves[place:]
        if self.span == "from":
            return after
        return before if self.span == "until" else [weighted[count - 1]]

    def _by_name(self, order: "_Order", setting: Setting) -> list[str]:
        known = [name for name, _ in setting.source.named_modules() if name]
        found = [name for name in known if name in (self.layers, f"network.{self.layers}")]
        if not found:
            shown = {name.removeprefix("network.") for name in known}
            raise UnknownName(f"layer in {self}", self.layers, shown)
        path = found[-1]
        inside = [place for place, leaf in enumerate(order.leaves) if _within(leaf, [path])]
        if self.span == "only" or not inside:
            return [path]
        if self.span == "from":
            return order.leaves[min(inside) :]
        parts = path.split(".")
        above = {".".join(parts[:depth]) for depth in range(len(parts))}
        own = [
            name
            for name, _ in setting.source.named_parameters()
            if name.rpartition(".")[0] in above
        ]
        direct = [name for name in own if name.rpartition(".")[0] not in order.leaves]
        return [*order.leaves[: max(inside) + 1], *direct]

    def __str__(self) -> str:
        return written(self)


@dataclass(frozen=True)
class _Order:
    """Leaf modules in the order in which they first run, and whether they are layers of weights."""

    leaves: list[str]
    has_weights: dict[str, bool]


@torch.no_grad()
def _order(network: nn.Module, x: torch.Tensor) -> _Order:
    twin = deepcopy(network).eval()
    leaves: list[str] = []
    weights: dict[str, bool] = {}

    def noter(name: str) -> Callable[[nn.Module, object, object], None]:
        def note(module: nn.Module, given: object, output: object) -> None:
            if name not in weights:
                leaves.append(name)
                weights[name] = any(p.dim() > 1 for p in module.parameters())

        return note

    for name, module in twin.named_modules():
        if not any(module.children()) and name:
            module.register_forward_hook(noter(name))
    twin(x)
    return _Order(leaves, weights)


def _within(name: str, paths: list[str]) -> bool:
    return any(name == path or name.startswith(f"{path}.") for path in paths)


def _whole(text: str) -> bool:
    return text.lstrip("-").isdigit()
