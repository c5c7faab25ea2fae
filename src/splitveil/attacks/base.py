"""An attack is an immutable recipe; fitting it to some knowledge gives a reconstructor."""

from abc import ABC, abstractmethod
from typing import ClassVar

from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.threat import Observation, QueryFree


class Reconstructor(ABC):
    """A fitted attack."""

    @abstractmethod
    def __call__(self, observation: Observation, rng: Rng) -> Targets:
        """Rebuild the targets of an observation: shape (n, *target), detached."""

    def noted(self, observation: Observation, rng: Rng) -> tuple[Targets, tuple[str, ...]]:
        """The same targets, and what a reader of them must know; nothing unless overridden."""
        return self(observation, rng), ()


class Adversary:
    """Whoever asks for knowledge: `requires` is the least it works with, `reference` its source."""

    requires: ClassVar[type[QueryFree]]
    reference: ClassVar[str]


class Attack(Adversary, ABC):
    """Settings of an attack; a frozen dataclass whose `repr` rebuilds it.

    Where `headline` is False, its error is listed but never stands for the strongest attack: it
    was made to please the eye, not to come close.
    """

    headline: ClassVar[bool] = True

    @abstractmethod
    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        """Learn from the knowledge alone.

        Raises:
            KnowledgeMissing: if `knowledge` is weaker than `requires`.
            BadInput: if the attack cannot work on this layout or these auxiliary images.
        """
