"""Watching a training: features and outputs on fixed images after every epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from splitveil.data.types import LabelledImages
from splitveil.errors import BadPlan, UnknownName, UnsupportedCut
from splitveil.estimators.moments import Cells, ClassMoments, groups_within
from splitveil.measures.vortex import vortex_features, vortex_outputs
from splitveil.partition import Cut, Traced, trace
from splitveil.quantities import Quantity
from splitveil.rng import Rng

OUTPUT = "logits"
_BATCH = 250
_SPREAD = 4


@dataclass(frozen=True, kw_only=True)
class EpochState:
    """The network after `number` epochs; 0 is before training, where `loss` is None.

    `loss` is the mean training loss of the epoch; `validation_loss` that of the finished targets on
    validation images, `accuracy` the one there; `outputs` are those of `vortex_outputs`, and `cuts`
    those of `vortex_features` by the cut's id.
    """

    number: int
    loss: float | None
    validation_loss: float
    accuracy: Quantity
    outputs: Mapping[str, Quantity] = field(default_factory=dict)
    cuts: Mapping[str, Mapping[str, Quantity]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "number": self.number,
            "loss": self.loss,
            "validation_loss": self.validation_loss,
            "accuracy": self.accuracy.to_json(),
            "outputs": {name: q.to_json() for name, q in self.outputs.items()},
            "cuts": {
                cut: {name: q.to_json() for name, q in found.items()}
                for cut, found in self.cuts.items()
            },
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "EpochState":
        """The inverse of `to_json`."""
        return EpochState(
            number=data["number"],
            loss=data["loss"],
            validation_loss=data["validation_loss"],
            accuracy=Quantity.from_json(data["accuracy"]),
            outputs={name: Quantity.from_json(q) for name, q in data["outputs"].items()},
            cuts={
                cut: {name: Quantity.from_json(q) for name, q in found.items()}
                for cut, found in data["cuts"].items()
            },
        )


@dataclass(frozen=True, eq=False)
class Watch:
    """Measures a network on the probe, in one pass for all cuts and the logits."""

    probe: LabelledImages
    cuts: tuple[Cut, ...]
    classes: int
    rng: Rng

    @staticmethod
    def of(
        network: nn.Module, probe: LabelledImages, names: Sequence[str], classes: int, rng: Rng
    ) -> "Watch":
        """Watch the cuts of these names or ids; without names, four spread over the menu.

        Raises:
            UnsupportedCut: if the network has no place to cut.
            UnknownName: if there is no such cut.
            BadPlan: if a class has not two images to measure a spread on.
        """
        traced = trace(network, probe.x[:2])
        menu = traced.menu()
        if not menu:
            raise UnsupportedCut("the network has no place to cut: train without a trace")
        if names:
            cuts = [traced.cut(name) for name in names]
        else:
            last = len(menu) - 1
            cuts = [menu[round(i * last / max(1, _SPREAD - 1))] for i in range(_SPREAD)]
        unique = sorted({cut.id: cut for cut in cuts}.values(), key=lambda cut: cut.depth)
        y = probe.y
        if y is None or int(y.bincount().max()) < 2:
            raise BadPlan("the probe has at most one image of a class: use more images")
        return Watch(probe, tuple(unique), classes, rng)

    def describe(self) -> list[dict[str, Any]]:
        """The cuts as plain data, the logits last."""
        cuts = [
            {
                "id": cut.id,
                "name": cut.name,
                "kind": str(cut.kind.value),
                "depth": cut.depth,
                "features": cut.layout.size,
            }
            for cut in self.cuts
        ]
        logits = {
            "id": OUTPUT,
            "name": OUTPUT,
            "kind": "output",
            "depth": 1.0,
            "features": self.classes,
        }
        return [*cuts, logits]

    @torch.no_grad()
    def __call__(
        self, network: nn.Module
    ) -> tuple[dict[str, Quantity], dict[str, dict[str, Quantity]]]:
        """What `vortex_outputs` gives, and what `vortex_features` gives at each cut."""
        traced = trace(network, self.probe.x[:2].to(_device(network)))
        cuts = [_again(traced, cut) for cut in self.cuts]
        sizes = [*(cut.layout.size for cut in cuts), self.classes]
        groups = groups_within(self.classes, sizes)
        known = {now.id: cut.id for now, cut in zip(cuts, self.cuts, strict=True)}
        names = [*(cut.id for cut in self.cuts), OUTPUT]
        moments = {
            name: ClassMoments(self.classes, size, groups=groups)
            for name, size in zip(names, sizes, strict=True)
        }
        norms: dict[str, list[torch.Tensor]] = {name: [] for name in names}
        answers = []
        assert self.probe.y is not None  # noqa: S101 - checked in `of`
        split = (part.split(_BATCH) for part in (self.probe.x, self.probe.y, self.probe.ids))
        for x, y, ids in zip(*split, strict=True):
            logits, features = traced.forward_with_features(x.to(_device(network)), cuts)
            answers.append(logits.float().cpu())
            cells = Cells.of(y, ids, self.classes, groups)
            found = {known[name]: z for name, z in features.items()}
            for name, z in {**found, OUTPUT: logits}.items():
                moments[name].add(z.float(), cells)
                norms[name].append(z.double().square().sum(1).cpu())
        return (
            vortex_outputs(torch.cat(answers), self.probe.y, self.rng.child(OUTPUT)),
            {
                name: vortex_features(
                    found.result(), torch.cat(norms[name]), self.rng.child("norm", name)
                )
                for name, found in moments.items()
            },
        )


def _again(traced: Traced, cut: Cut) -> Cut:
    """The same place, which has another id once it lost channels."""
    try:
        return traced.cut(cut.id)
    except UnknownName:
        return traced.cut(cut.name)


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
