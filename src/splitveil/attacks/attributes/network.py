"""A small network from what was sent to an attribute."""

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from splitveil.attacks.attributes.base import AttributeAttack, AttributeGuesser, Examples
from splitveil.attacks.classes import Classes
from splitveil.attacks.evidence import observed
from splitveil.attacks.inverse_network import held_out
from splitveil.attacks.standard import Standard
from splitveil.errors import BadInput, BadPlan
from splitveil.nets.attribute_net import AttributeNet
from splitveil.partition.layout import Layout
from splitveil.rng import Rng
from splitveil.shapes import Labels, Logits
from splitveil.threat import Observation, Pairs, QueryFree
from splitveil.training import Schedule, fit

_BATCH = 256
_FEWEST = 12


@dataclass(frozen=True, eq=False)
class Trained(AttributeGuesser):
    """A network from scaled features and the label to log-odds."""

    values: Labels
    net: nn.Module
    standard: Standard
    classes: Classes
    layout: Layout

    @torch.no_grad()
    def scores(self, observation: Observation, rng: Rng) -> Logits:
        z, rows = observed(observation, self.layout, self.classes, self.standard.mean.device)
        parts = zip(z.split(_BATCH), rows.split(_BATCH), strict=True)
        return torch.cat([self.net(self.standard(q), r) for q, r in parts])


@dataclass(frozen=True, kw_only=True)
class NetworkAttribute(AttributeAttack):
    """A small network trained by cross-entropy; two convolutions where z is a map.

    Weights are those of the epoch with the least error on a sixth of the auxiliary images.
    Features are averaged over sends. What it fails to infer a larger one may.

    Knowledge: pairs, or one query an auxiliary image, at most `samples`. Cost: seconds an epoch.
    """

    requires: ClassVar[type[QueryFree]] = Pairs
    reference: ClassVar[str] = "attribute inference from representations, Song & Shmatikov 2020"

    epochs: int = 12
    width: int = 64
    batch: int = 64
    learning_rate: float = 2e-3
    samples: int = 10_000

    def __post_init__(self) -> None:
        if self.width < 8 or self.width % 8 or self.samples < _FEWEST:
            raise BadPlan(f"width must be a multiple of 8 and samples at least {_FEWEST}: {self}")
        self.schedule()

    def schedule(self) -> Schedule:
        """The training schedule these settings mean."""
        return Schedule(epochs=self.epochs, batch=self.batch, learning_rate=self.learning_rate)

    def fit(self, knowledge: QueryFree, attribute: Labels, rng: Rng) -> AttributeGuesser:
        examples = Examples.of(self, knowledge, attribute, rng, limit=self.samples)
        found = examples.found
        if len(found.z) < _FEWEST:
            raise BadInput(
                f"a network needs at least {_FEWEST} auxiliary images, got {len(found.z)}: give "
                "the attacker more data or queries, or use LinearAttribute"
            )
        standard = Standard.of(found)
        with rng.child("init").as_global():
            net = AttributeNet(
                standard.shape(found.z.shape[1]),
                len(examples.values),
                classes=len(found.classes.seen) + 1,
                width=self.width,
            ).to(found.z.device)
        best = self._train(net, standard, examples, rng)
        return Trained(examples.values, best, standard, found.classes, found.layout)

    def _train(self, net: nn.Module, standard: Standard, examples: Examples, rng: Rng) -> nn.Module:
        found, places = examples.found, examples.places
        held, seen = held_out(len(found.z), rng)
        best, least = deepcopy(net).eval(), float("inf")

        def loss(net: nn.Module, indices: Tensor, generator: torch.Generator) -> Tensor:
            i = seen[indices]
            return cross_entropy(net(standard(found.z[i]), found.rows[i]), places[i])

        @torch.no_grad()
        def check() -> None:
            nonlocal least
            net.eval()
            error = float(
                cross_entropy(net(standard(found.z[held]), found.rows[held]), places[held])
            )
            if error < least:
                least = error
                best.load_state_dict(net.state_dict())

        fit(
            net,
            loss,
            size=len(seen),
            schedule=self.schedule(),
            rng=rng.child("training"),
            device=found.z.device.type,
            on_epoch=lambda epoch: check(),
        )
        return best
