"""An attribute attack learns from examples what z tells about something that is not the picture."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from splitveil.attacks.base import Adversary
from splitveil.attacks.evidence import Evidence, affordable, chosen, gather, grant, part_of
from splitveil.errors import BadInput, KnowledgeMissing
from splitveil.rng import Rng
from splitveil.shapes import Labels, Logits
from splitveil.threat import Observation, Pairs, QueryFree


class AttributeGuesser(ABC):
    """A fitted attribute attack."""

    values: Labels
    """The attribute's values that it may answer, sorted."""

    @abstractmethod
    def scores(self, observation: Observation, rng: Rng) -> Logits:
        """How much speaks for each of `values`: shape (n, values), higher for more likely."""

    def __call__(self, observation: Observation, rng: Rng) -> Labels:
        """The likeliest value for each target of an observation, shape (n,)."""
        return self.values[self.scores(observation, rng).argmax(1).cpu()]


class AttributeAttack(Adversary, ABC):
    """Settings of an attribute attack; a frozen dataclass whose `repr` rebuilds it."""

    @abstractmethod
    def fit(self, knowledge: QueryFree, attribute: Labels, rng: Rng) -> AttributeGuesser:
        """Learn from auxiliary images whose attribute is known, one value each.

        Raises:
            KnowledgeMissing: if `knowledge` is weaker than `requires`.
            BudgetExceeded: if the query budget allows fewer than two images.
            BadInput: if there is no value for each auxiliary image, or fewer than two values.
        """


@dataclass(frozen=True, eq=False)
class Examples:
    """Evidence, the sorted values of the attribute, and each target's place among them (n,)."""

    found: Evidence
    values: Labels
    places: Tensor

    @staticmethod
    def of(
        attack: Adversary,
        knowledge: QueryFree,
        attribute: Labels,
        rng: Rng,
        *,
        limit: int | None = None,
    ) -> "Examples":
        """Gather what the device would send for auxiliary images with known attribute."""
        check(attack, knowledge, attribute)
        if not isinstance(knowledge, Pairs):
            raise KnowledgeMissing(f"{type(knowledge).__name__} grants no features of any image")
        kept = chosen(knowledge.auxiliary, affordable(knowledge, limit=limit), rng)
        some = replace(knowledge, auxiliary=part_of(knowledge.auxiliary, kept))
        own = attribute if kept is None else attribute[kept.cpu()]
        values, places = torch.unique(own.cpu(), return_inverse=True)
        if len(values) < 2:
            raise BadInput(
                f"the attribute has {len(values)} value among the auxiliary images, at least 2 "
                "are needed: give other images or another attribute"
            )
        found = gather(attack, some, rng)
        return Examples(found, values, places.to(found.z.device))


def check(attack: Adversary, knowledge: QueryFree, attribute: Labels) -> None:
    """Refuse weak knowledge and attributes that do not fit the auxiliary images."""
    grant(attack, knowledge)
    if len(attribute) != len(knowledge.auxiliary.x):
        raise BadInput(
            f"{len(attribute)} attribute values for {len(knowledge.auxiliary.x)} auxiliary "
            "images: give one each"
        )
    if not len(attribute):
        raise BadInput("no auxiliary images: give the attacker some")
