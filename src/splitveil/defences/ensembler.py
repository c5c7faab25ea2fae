"""Several bodies in the cloud, and a secret choice of those whose answers count."""

from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from splitveil.defences.alterations import Beginning
from splitveil.defences.base import Batch, Component, Part, Setting, written
from splitveil.defences.begin import WEIGHTS, Stored
from splitveil.defences.way import graft_path
from splitveil.errors import BadModel, BadPlan
from splitveil.models.reshaped import ENSEMBLE, Ensemble, put_bodies
from splitveil.partition import Partition, trace

_LEAST = 2


@dataclass(frozen=True)
class Ensembler(Component):
    """The cloud runs the bodies of N shadow networks; the device alone knows which `chosen` count.

    `shadows` is a folder of N folders that `harden` wrote, each a network of the same shape trained
    by itself, best with a `fixed-noise` of its own. The answer is the mean over the secret choice
    S of body_s(z). Bodies stay as they are, the device's half is trained for them, and

        weight · max_{s in S} mean_i cos(z_i, z_si),  z_s the features of shadow s's own half,

    keeps it from any half that could be found from a body. Join `fixed-noise`.

    The publication concatenates features of the chosen bodies before a last layer on the device;
    here the device averages answers, so that nothing but the choice is left to it. The choice
    follows from the seed, and lies in the stored weights as `ensemble.selection`.

    An attacker who holds the device, or may ask it, needs no body and gains nothing from not
    knowing the choice: against those it protects no more than the price on cosines does. It is
    aimed at servers that never see pairs, and against those it hides at most ln C(N, chosen) nats.
    A partition's tail holds the choice, so an audit's attacker knows it; `unselected` takes it out.

    Raises:
        BadPlan: if there are not more shadows than chosen, one does not fit, the network is not a
            plain sequence behind the cut, or other components change what crosses.
    """

    name: ClassVar[str] = "ensembler"
    reference: ClassVar[str] = "Liu et al. 2024 (Ensembler), from public summaries"

    shadows: str
    chosen: int
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.chosen < 1 or not 0 <= self.weight < float("inf"):
            raise BadPlan(
                "ensembler: chosen must be positive and weight not negative, got "
                f"{self.chosen}, {self.weight}"
            )

    def _stored(self, setting: Setting) -> list[Stored]:
        folder = Path(self.shadows)
        found = sorted(path.parent for path in folder.glob(f"*/{WEIGHTS}"))
        if len(found) < max(_LEAST, self.chosen + 1):
            raise BadPlan(
                f"{self}: {folder} holds {len(found)} hardened networks and more than "
                f"{max(1, self.chosen)} are needed, or nothing is secret"
            )
        stored = [Stored(path, setting.source, self) for path in found]
        changed = [one.path for one in stored if one.changes]
        if changed:
            raise BadPlan(f"{self}: {changed[0]} has a structure of its own: harden it without")
        return stored

    def begin(self, setting: Setting) -> Beginning:
        setting.crossing(self)
        assert setting.cut is not None and setting.x is not None  # noqa: PT018, S101 - there is a cut
        stored = self._stored(setting)
        traced = trace(setting.source, setting.x[:2])
        path = graft_path(setting.source, traced, setting.cut, setting.x[:2])
        prefix = stored[0].prefix
        if path is None or "." in path.removeprefix(prefix):
            raise BadPlan(
                f"{self}: {setting.cut.name} is not a step of the network's outermost sequence, so "
                "no bodies can be put behind it: choose a cut between its stages"
            )
        network = deepcopy(setting.source)
        try:
            ensemble = put_bodies(network, path, len(stored))
        except BadModel as error:
            raise BadPlan(f"{self}: {error}") from error
        with torch.no_grad():
            for body, one in zip(ensemble.bodies, stored, strict=True):
                for name, value in body.state_dict().items():
                    value.copy_(one.tensor(prefix + name, value))
            order = torch.randperm(len(stored), generator=setting.rng.child("choice").torch())
            ensemble.selection.zero_()[order[: self.chosen]] = 1 / self.chosen
        return Beginning(network=network.eval(), changes=({"at": path, "bodies": len(stored)},))

    def prepare(self, setting: Setting) -> Part:
        assert setting.cut is not None and setting.x is not None  # noqa: PT018, S101 - begin asked
        if setting.crossing(self) != setting.cut.layout:
            raise BadPlan(f"{self}: shadows send what crosses at the cut: join no structure")
        stored = self._stored(setting)
        traced = trace(setting.source, setting.x[:2])
        own = traced.split(traced.cut(setting.cut.id)).head
        path = f"{stored[0].prefix}{ENSEMBLE}"
        ensemble = setting.source.get_submodule(path)
        assert isinstance(ensemble, Ensemble)  # noqa: S101 - begin put it there
        halves = []
        for place in ensemble.selection.nonzero()[:, 0].tolist():
            half = deepcopy(own)
            with torch.no_grad():
                for name, value in half.network.state_dict().items():  # type: ignore[union-attr]
                    if name.startswith(stored[place].prefix):
                        value.copy_(stored[place].tensor(name, value))
            halves.append(half.requires_grad_(requires_grad=False))
        shadows = _Shadows(halves)

        def term(batch: Batch) -> Tensor:
            alike = [
                cosine_similarity(batch.features, z, dim=1).mean()
                for z in shadows(batch.x.detach())
            ]
            return self.weight * torch.stack(alike).max()

        return Part(
            term=term if self.weight else None,
            modules=shadows,
            frozen=(path,),
            notes=(
                f"{self}: the cloud runs {len(stored)} bodies for one answer. The choice follows "
                "from the seed and lies in the weights: keep both on the device. An audit's "
                "attacker knows it.",
            ),
        )

    def __str__(self) -> str:
        return written(self)


class _Shadows(nn.Module):
    """Devices' halves of shadow networks, always in eval."""

    def __init__(self, halves: list[nn.Module]) -> None:
        nn.Module.__init__(self)
        self.halves = nn.ModuleList(halves)
        self.eval()

    def train(self, mode: bool = True) -> "_Shadows":
        """Never: their statistics must not move."""
        nn.Module.train(self, mode=False)
        return self

    @torch.no_grad()
    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of each (n, f)."""
        return [half(x) for half in self.halves]


def unselected(partition: Partition) -> Partition:
    """The same for an attacker in the cloud who knows all bodies and not which of them count.

    Its tail averages over all of them, the best guess without knowledge of the choice.

    Raises:
        BadPlan: if the partition has no ensemble.
    """
    tail = deepcopy(partition.tail)
    names = [name for name, _ in tail.named_buffers() if name.endswith(f"{ENSEMBLE}.selection")]
    if not names:
        raise BadPlan("this partition has no ensemble of bodies: harden with ensembler")
    for name in names:
        value = tail.get_buffer(name)
        value.fill_(1 / len(value))
    return replace(partition, tail=tail)
