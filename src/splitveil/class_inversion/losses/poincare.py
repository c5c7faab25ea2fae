"""Distance to the class in the Poincaré ball: the identity loss of PPA."""

from dataclasses import dataclass

import torch
from torch.nn.functional import one_hot

from splitveil.class_inversion.losses.base import Answer, IdentityLoss
from splitveil.errors import BadPlan
from splitveil.shapes import Labels, PerImage

_LEAST = 1e-12


@dataclass(frozen=True, kw_only=True)
class Poincare(IdentityLoss):
    """arccosh(1 + 2‖u - v‖² / ((1 - ‖u‖²)(1 - ‖v‖²))), u = o / ‖o‖₁, v the class's corner.

    v has 1 - `inset` at the class and 0 elsewhere. In float64. Unmoved by a positive factor on all
    logits, moved by a constant. Where one logit dominates ‖u‖ reaches 1: the denominator is held at
    1e-12, and the argument above 1, so that values and gradients stay finite.

    References: Struppek et al., ICML 2022.

    Raises:
        BadPlan: if the inset is not in (0, 1).
    """

    inset: float = 1e-4

    def __post_init__(self) -> None:
        if not 0 < self.inset < 1:
            raise BadPlan(f"the inset must lie in (0, 1), got {self.inset}")

    def __call__(self, answer: Answer, labels: Labels) -> PerImage:
        logits = answer.logits.double()
        u = logits / logits.abs().sum(1, keepdim=True).clamp(min=_LEAST)
        v = one_hot(labels, logits.shape[1]).double() * (1 - self.inset)
        apart = (u - v).square().sum(1)
        room = (1 - u.square().sum(1)) * (1 - v.square().sum(1))
        ratio = 2 * apart / room.clamp(min=_LEAST)
        return torch.acosh(1 + ratio.clamp(min=_LEAST)).to(answer.logits.dtype)
