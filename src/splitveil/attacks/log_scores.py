"""Attack the logarithm of what was sent, where that is a vector of probabilities."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.evidence import affordable, chosen, gather, grant, part_of
from splitveil.attacks.ridge import Ridge
from splitveil.errors import BadPlan, KnowledgeMissing
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.threat import Observation, Pairs, QueryFree, Recorded


@dataclass(frozen=True, eq=False)
class OnLogarithms(Reconstructor):
    """An attack fitted to logarithms, given logarithms."""

    fitted: Reconstructor

    def __call__(self, observation: Observation, rng: Rng) -> Targets:
        logs = logarithms(observation.z)
        rebuilt: Targets = self.fitted(
            Observation(logs, observation.layout, observation.labels), rng
        )
        return rebuilt


@dataclass(frozen=True, kw_only=True)
class LogScores(Attack):
    """Another attack on log z: for probabilities, which are class scores but for an offset.

    A network that is sure of itself answers with one probability near 1 and others near 0, whose
    differences no linear or nearest-neighbour attack sees; their logarithms are as far apart as
    the scores were. What is not positive counts as the least normal float32. Of signed features it
    would lose the signs: meant for outputs behind a softmax alone.

    Knowledge: pairs, or one query an auxiliary image; the inner attack is given the pairs and no
    more, so it sees no fresh noise. Cost: that of `attack`.
    """

    requires: ClassVar[type[QueryFree]] = Pairs
    reference: ClassVar[str] = "log-odds from confidence values: Tramer et al. 2016"

    attack: Attack = field(default_factory=Ridge)

    def __post_init__(self) -> None:
        if not issubclass(Pairs, self.attack.requires):
            raise BadPlan(
                f"LogScores hands on pairs, {type(self.attack).__name__} needs "
                f"{self.attack.requires.__name__}: choose an attack that needs pairs"
            )

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        grant(self, knowledge)
        if not isinstance(knowledge, Pairs):
            raise KnowledgeMissing("LogScores needs Pairs knowledge")
        kept = chosen(knowledge.auxiliary, affordable(knowledge), rng)
        z = gather(self, knowledge, rng).z
        own = part_of(knowledge.auxiliary, kept)
        pairs = Pairs(
            auxiliary=own,
            tail=knowledge.tail,
            layout=knowledge.layout,
            knows_label=knowledge.knows_label,
            knows_defence=knowledge.knows_defence,
            oracle=Recorded(own.x, logarithms(z)),
        )
        return OnLogarithms(self.attack.fit(pairs, rng.child("logarithms")))


def logarithms(z: Tensor) -> Tensor:
    """The natural logarithm of each value; what is not positive counts as the least normal one."""
    tiny = torch.finfo(torch.float32).tiny
    # NaN passes, for the inner attack to refuse
    return z.float().clamp(min=tiny).log()
