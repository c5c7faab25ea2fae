"""A latent's deviation from the start of the stage, limited in its sum of absolutes."""

from dataclasses import dataclass

import torch

from splitveil.class_inversion.constraints.base import Constraint, Latents, OtherLatents
from splitveil.errors import BadPlan


@dataclass(frozen=True)
class L1Ball(Constraint):
    """‖z - start‖₁ <= radius: start + sign(v) max(|v| - θ, 0), v = z - start.

    θ is the least threshold that meets the limit, found by sorting (Duchi et al. 2008); rows inside
    stay as they are. The centre is where the stage began, not zero.

    References: Qiu et al., ECCV 2024.

    Raises:
        BadPlan: if the radius is not positive.
    """

    radius: float

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise BadPlan(f"the radius must be positive, got {self.radius}")

    def project(self, z: Latents, start: OtherLatents) -> Latents:
        moved = z - start
        size = moved.abs()
        ordered = size.sort(1, descending=True).values
        excess = ordered.cumsum(1) - self.radius
        count = torch.arange(1, z.shape[1] + 1, device=z.device)
        kept = (ordered * count > excess).sum(1, keepdim=True).clamp(min=1)
        threshold = (excess.gather(1, kept - 1) / kept).clamp(min=0)
        inside = size.sum(1, keepdim=True) <= self.radius
        shrunk = start + moved.sign() * (size - threshold).clamp(min=0)
        return torch.where(inside, z, shrunk)
