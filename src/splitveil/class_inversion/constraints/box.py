"""Every value of a latent between two numbers."""

from dataclasses import dataclass

from splitveil.class_inversion.constraints.base import Constraint, Latents, OtherLatents
from splitveil.errors import BadPlan


@dataclass(frozen=True)
class Box(Constraint):
    """low <= z <= high, both ends, value by value.

    Raises:
        BadPlan: unless low < high.
    """

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise BadPlan(f"a box needs low < high, got {self.low} and {self.high}")

    def project(self, z: Latents, start: OtherLatents) -> Latents:
        return z.clamp(self.low, self.high)
