"""A price on large logits, which gives negative smoothing a minimum."""

from dataclasses import dataclass
from typing import ClassVar

from splitveil.defences.base import Component, Part, Setting
from splitveil.errors import BadPlan


@dataclass(frozen=True)
class LogitDecay(Component):
    """Adds weight · mean |s - mean_c s|² / K to the loss; s are the logits.

    Only differences of logits are charged, since a shift of all changes no answer.

    Raises:
        BadPlan: if the weight is not positive.
    """

    name: ClassVar[str] = "logit-decay"
    reference: ClassVar[str] = "logit-norm penalty"

    weight: float

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf"):
            raise BadPlan(f"logit-decay: weight must be positive and finite, got {self.weight}")

    def prepare(self, setting: Setting) -> Part:
        return Part(term=lambda batch: self.weight * batch.logits.var(1, correction=0).mean())

    def __str__(self) -> str:
        return f"{self.name}({self.weight:g})"
