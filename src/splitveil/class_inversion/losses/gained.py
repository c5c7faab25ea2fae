"""What fine-tuning gave the class: the identity loss of who holds the network from before it."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

from splitveil.class_inversion.losses.base import Answer, IdentityLoss, chosen
from splitveil.class_inversion.losses.logit import Logit
from splitveil.errors import BadPlan, KnowledgeMissing
from splitveil.shapes import Labels, PerImage


@dataclass(frozen=True, kw_only=True)
class Gained(IdentityLoss):
    """Another loss + `share` · b_c, b = W h₀ + w the last layer's logits of features h₀.

    h₀ are the penultimate features of the network before it was fine-tuned, W and w the last layer
    of the one under attack. What the class owes to features that were there before the private data
    is held down, so that the search follows what the private data changed. With a share of 1 and
    the logit alone, nothing is left to follow where nothing was changed; with 0 it is the other
    loss. For an attacker who knows the public weights that training began from.

    Raises:
        BadPlan: if the share is negative or not finite, or the other loss is one of these.
        KnowledgeMissing: when asked, if the network before fine-tuning was not given.
    """

    needs_first: ClassVar[bool] = True
    of: IdentityLoss = field(default_factory=lambda: Logit(regulariser=0.0))
    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.share < math.inf or self.of.needs_first:
            raise BadPlan(f"give a share of 0 or more and a loss of another kind, got {self}")

    @property
    def needs_features(self) -> bool:  # type: ignore[override]
        """Whether penultimate features are asked for, as the other loss has it."""
        return self.of.needs_features

    def __call__(self, answer: Answer, labels: Labels) -> PerImage:
        if answer.first is None:
            raise KnowledgeMissing(
                "this attacker knows the network before it was fine-tuned: give first="
            )
        return self.of(answer, labels) + self.share * chosen(answer.first, labels)
