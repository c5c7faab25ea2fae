"""The device's half of a network hardened before, to go on from."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from splitveil.defences.alterations import Beginning
from splitveil.defences.base import Component, Part, Setting, Structure, written
from splitveil.defences.begin import Stored
from splitveil.errors import BadModel, BadPlan
from splitveil.models.grafts import built_carrier
from splitveil.partition import trace


@dataclass(frozen=True)
class Expert(Component):
    """Starts from the device's half that a hardening left at `path`; the rest is the source's.

    `path` is a folder that `harden` wrote, or its weights. Tensors of all layers up to the cut come
    from there, and with them the structure at the cut, such as a bottleneck, with its weights. The
    expert may have been trained on other images and for other classes, as long as its layers up to
    the cut have the same shapes. All of it goes on being trained; join `freeze` to stop that.

    The transfer of ResSFL: a first hardening with `ressfl(2,channels=8)` makes the expert, a second
    with `expert(folder)+ressfl(0.5,channels=0)` goes on from it under a weaker attacker.

    It misleads where the expert's resistance is taken to last: training for the task undoes it, and
    only an audit of the second network says how far.

    Raises:
        BadPlan: if there are no weights, they are of another shape, or were pruned or ensembled.
    """

    name: ClassVar[str] = "expert"
    reference: ClassVar[str] = "Li et al. 2022 (ResSFL)"

    path: str

    def begin(self, setting: Setting) -> Beginning:
        setting.crossing(self)
        assert setting.cut is not None and setting.x is not None  # noqa: PT018, S101 - there is a cut
        stored = self._stored(setting)
        traced = trace(setting.source, setting.x[:2])
        head = traced.split(traced.cut(setting.cut.id)).head
        network = deepcopy(setting.source)
        own = network.state_dict()
        with torch.no_grad():
            for name in head.network.state_dict():  # type: ignore[union-attr]
                if name in own and name.startswith(stored.prefix):
                    own[name].copy_(stored.tensor(name, own[name]))
        return Beginning(network=network)

    def _stored(self, setting: Setting) -> Stored:
        stored = Stored(self.path, setting.source, self)
        if any("device" not in change for change in stored.changes):
            raise BadPlan(
                f"{self}: the expert has other layers than the network: go on from it whole, as "
                "the model's weights"
            )
        return stored

    def structure(self, setting: Setting) -> Structure | None:
        stored = self._stored(setting)
        if not stored.changes:
            return None
        assert setting.cut is not None  # noqa: S101 - begin asked for one
        change = stored.changes[0]
        one = len(stored.changes) == 1 and len(change["device"]) == len(change["cloud"]) == 1
        if not one or change["at"].rpartition(".")[2] != setting.cut.name.rpartition(".")[2]:
            raise BadPlan(
                f"{self}: the expert carries its structure behind {change['at']}, not one at "
                f"{setting.cut.name}: cut where the expert was hardened"
            )
        device, cloud = (self._side(side, change, stored) for side in ("device", "cloud"))
        shape = setting.shape(self)
        try:
            back = cloud.eval()(device.eval()(torch.zeros(2, *shape))).shape[1:]
        except RuntimeError as error:
            raise BadPlan(f"{self}: the expert's structure does not fit {shape}") from error
        if tuple(back) != shape:
            raise BadPlan(
                f"{self}: the expert's structure leads back to {tuple(back)}, not {shape}"
            )
        return Structure(device=device, cloud=cloud)

    def _side(self, side: str, change: dict[str, Any], stored: Stored) -> nn.Module:
        module = built_carrier(change[side][0])
        try:
            module.load_state_dict(stored.at(f"{change['at']}.{side}.0"))
        except RuntimeError as error:
            raise BadModel(f"{stored.path} lacks weights of its structure: harden again") from error
        return module

    def prepare(self, setting: Setting) -> Part:
        setting.crossing(self)
        return Part()

    def __str__(self) -> str:
        return written(self)
