"""What one image costs the device's battery."""

import math
from dataclasses import dataclass

from splitveil.errors import BadPlan


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Joules of the device: `per_gflop` for 1e9 operations, `per_megabyte` for 1e6 bytes sent.

    A linear model, and the two numbers are yours: it knows no idle draw, no radio that stays awake
    after sending, and no operation dearer than another. It has no interval.

    Raises:
        BadPlan: if a number is negative or not finite, or both are zero.
    """

    per_gflop: float | int = 0.0
    per_megabyte: float | int = 0.0

    def __post_init__(self) -> None:
        both = (self.per_gflop, self.per_megabyte)
        if not all(0 <= number < math.inf for number in both) or not any(both):
            raise BadPlan(
                "joules per GFLOP and per megabyte must be finite and not negative, and one of "
                f"them above zero, got {self.per_gflop} and {self.per_megabyte}"
            )

    def joules(self, flops: int | None, payload: int | None) -> float | None:
        """per_gflop flops / 1e9 + per_megabyte payload / 1e6; None if what counts is not known."""
        if (self.per_gflop and flops is None) or (self.per_megabyte and payload is None):
            return None
        return self.per_gflop * (flops or 0) / 1e9 + self.per_megabyte * (payload or 0) / 1e6
