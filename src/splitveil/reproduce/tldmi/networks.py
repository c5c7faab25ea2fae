"""Networks under attack: one body trained on other identities, then fine-tuned with a defence."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from splitveil.audit.store import scope_of
from splitveil.defences import Hardened, harden, parse_components
from splitveil.measures import accuracy
from splitveil.models.accuracy import predict
from splitveil.models.grafts import apply_grafts
from splitveil.models.reference import vgg
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.experiment import Arm, Evidence, Measured
from splitveil.reproduce.tldmi.claims import CHOSEN, EARLY, NONE
from splitveil.reproduce.tldmi.images import CLASSES, Identity, identities
from splitveil.rng import Rng
from splitveil.training import Schedule

REVISION = 1
EPOCHS = 12
_CUT = "pool5"
_EARLY = (1, 2, 3, 4, 6)
"""Schedules of so many epochs; the one whose accuracy is nearest the frozen network's is taken."""


@dataclass(frozen=True, kw_only=True)
class Body(Arm):
    """A network trained on other identities. Arrays: its tensors."""

    kind: ClassVar[Identity] = "characters"

    @property
    def minutes(self) -> float:
        return 0.7

    def run(self, bench: Bench) -> Measured:
        before = identities(self.kind).before
        with Rng(self.seed, ("tldmi", "weights")).as_global():
            network = vgg(classes=len(before.class_names))
        found = harden(
            network,
            before,
            parse_components(NONE),
            schedule=Schedule(epochs=EPOCHS),
            rng=Rng(self.seed, ("tldmi", "body")),
            patience=None,
            watch=None,
        )
        return Measured(quantities={"accuracy": found.accuracy}, arrays=_arrays(found.network))

    def network(self, bench: Bench) -> nn.Module:
        """As it was trained, or trained now: what an attacker may know of every network here."""
        network = vgg(classes=len(identities(self.kind).before.class_names))
        network.load_state_dict(_tensors(recorded(bench, self).arrays))
        return network.eval()


@dataclass(frozen=True, kw_only=True)
class Network(Arm):
    """The body with a new last layer, fine-tuned on the private identities with a defence.

    `defence` is what `harden` takes, or "early stop". Arrays: its tensors, and "right", whether
    each of the pictures held out is named rightly. Quantity: their accuracy.
    """

    kind: ClassVar[Identity] = "characters"
    bodies: ClassVar[type[Body]] = Body
    defence: str

    @property
    def minutes(self) -> float:
        return 0.9 if self.defence == EARLY else 0.6

    def run(self, bench: Bench) -> Measured:
        found = self._early(bench) if self.defence == EARLY else self._trained(bench, self.defence)
        held = identities(self.kind).held_out
        assert held.y is not None  # noqa: S101 - identities are classes
        logits = predict(found.network, held.x)
        return Measured(
            quantities={
                "accuracy": accuracy(logits, held.y),
                "accuracy on validation": found.accuracy,
            },
            details={"grafts": list(found.grafts), "notes": list(found.notes)},
            arrays={
                **_arrays(found.network),
                "right": (logits.argmax(1) == held.y).double().numpy(),
            },
        )

    def network(self, bench: Bench) -> nn.Module:
        """As it was trained, or trained now."""
        found = recorded(bench, self)
        network = vgg(classes=CLASSES)
        grafts = found.details["grafts"]
        apply_grafts(network, grafts)  # type: ignore[arg-type]
        tensors = {name: value for name, value in found.arrays.items() if name != "right"}
        network.load_state_dict(_tensors(tensors))
        return network.eval()

    def _trained(self, bench: Bench, text: str, epochs: int = EPOCHS) -> Hardened:
        with Rng(self.seed, ("tldmi", "head")).as_global():
            network = vgg(classes=CLASSES)
        body = _tensors(recorded(bench, self.bodies(seed=self.seed)).arrays)
        own = network.state_dict()
        fitting = {name: value for name, value in body.items() if value.shape == own[name].shape}
        network.load_state_dict({**own, **fitting})
        acts_at_cut = any(name in text for name in ("vib", "hsic"))
        return harden(
            network,
            identities(self.kind).training,
            parse_components(text),
            cut=_CUT if acts_at_cut else None,
            schedule=Schedule(epochs=epochs),
            rng=Rng(self.seed, ("tldmi", "fine-tuning")),
            patience=None,
            watch=None,
        )

    def _early(self, bench: Bench) -> Hardened:
        frozen = replace(self, defence=CHOSEN)
        wanted = recorded(bench, frozen).quantities["accuracy on validation"].value
        tried = [self._trained(bench, NONE, epochs) for epochs in _EARLY]
        return min(tried, key=lambda one: abs(one.accuracy.value - wanted))


def recorded(bench: Bench, arm: Arm) -> Measured:
    """What an arm measured, from the run's folder; measured now where it has not run."""
    if bench.store is None:
        return arm.run(bench)
    evidence = Evidence.of(bench.store, scope_of(reproduce="tldmi", revision=REVISION))
    found = evidence.find(arm)
    return arm.run(bench) if found is None else found


def _arrays(network: nn.Module) -> dict[str, NDArray[Any]]:
    return {name: value.numpy() for name, value in deepcopy(network.state_dict()).items()}


def _tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
