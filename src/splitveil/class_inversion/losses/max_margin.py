"""The margin over the next class: the identity loss of PLG-MI."""

import math
from dataclasses import dataclass

from splitveil.class_inversion.losses.base import Answer, IdentityLoss, chosen
from splitveil.shapes import Labels, PerImage


@dataclass(frozen=True)
class MaxMargin(IdentityLoss):
    """-o_c + max over k ≠ c of o_k: unmoved by a constant added to all logits.

    References: Yuan et al., AAAI 2023.
    """

    def __call__(self, answer: Answer, labels: Labels) -> PerImage:
        others = answer.logits.scatter(1, labels[:, None], -math.inf)
        return others.amax(1) - chosen(answer.logits, labels)
