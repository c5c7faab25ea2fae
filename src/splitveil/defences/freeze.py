"""Layers that stay as they are, bit for bit."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from splitveil.defences.base import Component, Part, Setting, written
from splitveil.errors import BadPlan, UnknownName
from splitveil.nets.running_order import running_order, stages


@dataclass(frozen=True)
class Freeze(Component):
    """Keeps layers as the source has them, BatchNorm statistics included; the rest is trained.

    `layers` is a module's name, such as stage2; a count, from the end where negative; or a share,
    such as 60%. What is counted is `of` "layers" with weights, with what normalises them, or
    "stages", runs of blocks whose maps have one size, the head not being one: freeze(4) keeps the
    first four layers, freeze(-1) all but the last, freeze(-1,of=stages) all stages but the last.
    A module's name stands for all that runs until it has answered (`span` "until"), itself
    included, from it on ("from"), or itself ("only").

    `statistics` "kept" leaves frozen modules in eval. With "updated" they train on: weights stay,
    running means and variances move with the private images, as in published code, and then tell
    of those images.

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
    of: Literal["layers", "stages"] = "layers"
    statistics: Literal["kept", "updated"] = "kept"

    def prepare(self, setting: Setting) -> Part:
        assert setting.x is not None  # noqa: S101 - `harden` gives images
        counted = _whole(self.layers) or _share(self.layers) is not None
        names = self._by_count(setting) if counted else self._by_name(setting)
        sizes = {name: value.numel() for name, value in setting.source.named_parameters()}
        held = [name for name in sizes if _within(name, names)]
        if not held:
            raise BadPlan(f"{self}: no weights are there to freeze")
        if len(held) == len(sizes):
            raise BadPlan(f"{self}: nothing would be left to train; freeze less")
        trained = sum(size for name, size in sizes.items() if name not in held)
        notes = [f"{self}: {trained:,} of {sum(sizes.values()):,} parameters are trained."]
        if self.statistics == "updated":
            notes.append(
                f"{self}: running means and variances of frozen layers move with the images "
                "trained on; nothing of them is frozen but weights."
            )
        return Part(frozen=tuple(names if self.statistics == "kept" else held), notes=tuple(notes))

    def _by_count(self, setting: Setting) -> list[str]:
        assert setting.x is not None  # noqa: S101 - `harden` gives images
        order = running_order(setting.source, setting.x[:1])
        leaves = [leaf.name for leaf in order]
        starts = [place for place, leaf in enumerate(order) if leaf.weighted]
        last = starts[-1] if starts else 0
        most = len(starts) - 1
        if self.of == "stages":
            groups = stages(setting.source, setting.x[:1])
            if not groups:
                raise BadPlan(
                    f"{self}: the network has no stages, its layers give no maps of pixels: count "
                    "layers, or name one"
                )
            most = len(groups)
            after = max(leaves.index(name) for name in groups[-1]) + 1
            starts = [min(leaves.index(name) for name in group) for group in groups]
            if after > last:
                most -= 1
            starts.append(min(after, len(leaves)))
        whole = most + 1 if self.of == "layers" else len(starts) - 1
        count = _count(self.layers, whole)
        if not 0 < count <= most:
            kind = "layers with weights" if self.of == "layers" else "stages"
            raise BadPlan(
                f"{self}: the network has {whole} {kind}; freeze between 1 and {most} of them"
            )
        before, after_it = leaves[: starts[count]], leaves[starts[count] :]
        if self.span == "from":
            return after_it
        if self.span == "until":
            return before
        return (
            [leaves[starts[count - 1]]]
            if self.of == "layers"
            else leaves[starts[count - 1] : starts[count]]
        )

    def _by_name(self, setting: Setting) -> list[str]:
        assert setting.x is not None  # noqa: S101 - `harden` gives images
        known = [name for name, _ in setting.source.named_modules() if name]
        found = [name for name in known if name in (self.layers, f"network.{self.layers}")]
        if not found:
            shown = {name.removeprefix("network.") for name in known}
            raise UnknownName(f"layer in {self}", self.layers, shown)
        path = found[-1]
        leaves = [leaf.name for leaf in running_order(setting.source, setting.x[:1])]
        inside = [place for place, leaf in enumerate(leaves) if _within(leaf, [path])]
        if self.span == "only" or not inside:
            return [path]
        if self.span == "from":
            return leaves[min(inside) :]
        parts = path.split(".")
        above = {".".join(parts[:depth]) for depth in range(len(parts))}
        own = [
            name
            for name, _ in setting.source.named_parameters()
            if name.rpartition(".")[0] in above
        ]
        direct = [name for name in own if name.rpartition(".")[0] not in leaves]
        return [*leaves[: max(inside) + 1], *direct]

    def __str__(self) -> str:
        return written(self)


def _within(name: str, paths: list[str]) -> bool:
    return any(name == path or name.startswith(f"{path}.") for path in paths)


def _whole(text: str) -> bool:
    return text.lstrip("-").isdigit()


def _share(text: str) -> float | None:
    """`60%` as 0.6, None where it is no share."""
    try:
        return float(text.removesuffix("%")) / 100 if text.endswith("%") else None
    except ValueError:
        return None


def _count(text: str, whole: int) -> int:
    """How many of `whole` are meant."""
    share = _share(text)
    if share is not None:
        return round(share * whole)
    count = int(text)
    return whole + count if count < 0 else count
