"""The logit alone, with features held near those of public images: the identity loss of LOMMA."""

import math
from dataclasses import dataclass

from splitveil.class_inversion.losses.base import Answer, IdentityLoss, chosen
from splitveil.errors import BadPlan
from splitveil.shapes import Labels, PerImage


@dataclass(frozen=True, kw_only=True)
class Logit(IdentityLoss):
    """-o_c + λ ‖h - μ‖², a sum over penultimate features h, μ their mean over public images.

    The second term is of the model under attack alone: the attacker's own models have none. Unlike
    cross-entropy it goes on pulling once the class is certain, and it moves with a constant added
    to all logits. λ is `regulariser`; 0 asks for no features.

    References: Nguyen et al., CVPR 2023.

    Raises:
        BadPlan: if the regulariser is negative or not finite.
    """

    regulariser: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.regulariser < math.inf:
            raise BadPlan(f"the regulariser must be 0 or more, got {self.regulariser}")

    @property
    def needs_features(self) -> bool:  # type: ignore[override]
        """Whether penultimate features are asked for."""
        return self.regulariser > 0

    def __call__(self, answer: Answer, labels: Labels) -> PerImage:
        loss = -chosen(answer.logits, labels)
        if answer.offset is None or not self.regulariser:
            return loss
        return loss + self.regulariser * answer.offset.square().sum(1)
