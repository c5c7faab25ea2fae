"""Nearest mean of a handful of examples."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from splitveil.attacks.attributes.base import AttributeAttack, AttributeGuesser, Examples
from splitveil.attacks.classes import Classes
from splitveil.attacks.evidence import observed
from splitveil.errors import BadPlan
from splitveil.partition.layout import Layout
from splitveil.rng import Rng
from splitveil.shapes import Labels, Logits
from splitveil.threat import Observation, Pairs, QueryFree


@dataclass(frozen=True, eq=False)
class Prototypes(AttributeGuesser):
    """Mean scaled features of each value (values, f), and the scales."""

    values: Labels
    means: Tensor
    centre: Tensor
    deviation: Tensor
    layout: Layout

    def scores(self, observation: Observation, rng: Rng) -> Logits:
        nobody = Classes(torch.empty(0, dtype=torch.int64, device=self.means.device))
        z, _ = observed(observation, self.layout, nobody, self.means.device)
        scaled = (z - self.centre) / self.deviation
        return 2 * scaled @ self.means.T - self.means.square().sum(1)


@dataclass(frozen=True, kw_only=True)
class FewShotAttribute(AttributeAttack):
    """The value whose mean over `shots` labelled images is nearest, features scaled to variance 1.

    Scales come from all auxiliary images, whose attribute need not be known; only `shots` of each
    value are used as labelled, chosen at random, or all where there are fewer. What so few show is
    what a curious person gets in an afternoon; with many examples the other attacks are stronger.

    Knowledge: pairs, or one query an auxiliary image, at most `samples`. Cost: one pass.
    """

    requires: ClassVar[type[QueryFree]] = Pairs
    reference: ClassVar[str] = "prototypes of Snell, Swersky & Zemel 2017, without an embedding"

    shots: int = 5
    samples: int = 4000

    def __post_init__(self) -> None:
        if self.shots < 1 or self.samples < 2:
            raise BadPlan(f"shots must be at least 1 and samples at least 2: {self}")

    def fit(self, knowledge: QueryFree, attribute: Labels, rng: Rng) -> AttributeGuesser:
        examples = Examples.of(self, knowledge, attribute, rng, limit=self.samples)
        z = examples.found.z.double()
        centre, deviation = z.mean(0), z.std(0)
        deviation = deviation.clamp(min=max(1e-3 * float(deviation.max()), 1e-12))
        order = torch.randperm(len(z), generator=rng.child("shots").torch()).to(z.device)
        places = examples.places[order]
        # the rank of each example among those of its value
        same = torch.nn.functional.one_hot(places, len(examples.values))
        rank = (same.cumsum(0) * same).sum(1)
        kept = order[rank <= self.shots]
        scaled = (z[kept] - centre) / deviation
        sums = z.new_zeros(len(examples.values), z.shape[1])
        sums.index_add_(0, examples.places[kept], scaled)
        counts = torch.bincount(examples.places[kept], minlength=len(sums))[:, None]
        return Prototypes(
            examples.values,
            (sums / counts).float(),
            centre.float(),
            deviation.float(),
            examples.found.layout,
        )
