"""Features rounded to evenly spaced levels."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from splitveil.errors import BadPlan
from splitveil.release.base import Release, ReleaseRecipe
from splitveil.release.calibration import checked, middle_range
from splitveil.release.coding import Coder, Lattice, LatticeCoder
from splitveil.shapes import Features


@dataclass(frozen=True)
class RoundedFeatures(Release):
    """Send the nearest point of a lattice; deterministic, so it has no density."""

    lattice: Lattice

    def __call__(self, z: Features, generator: torch.Generator) -> Features:
        return self.lattice.points(self.lattice.levels(z), z.dtype)

    def bits(self, features: int) -> float:
        return float(self.lattice.bits * features)

    def coder(self, generator: torch.Generator) -> Coder:
        return LatticeCoder(self.lattice)


@dataclass(frozen=True, kw_only=True)
class UniformQuantiser(ReleaseRecipe):
    """Round features to 2**bits levels over the range of the middle `clip` of auxiliary values.

    One range for the whole tensor; values outside go to the nearest end.

    Raises:
        BadPlan: if bits is not in 1..8, or clip not in (0, 1].
    """

    name: ClassVar[str] = "quantise"
    bits: int
    clip: float = 0.9995

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise BadPlan(f"bits must lie between 1 and 8, got {self.bits}")
        if not 0 < self.clip <= 1:
            raise BadPlan(f"clip is a share of values in (0, 1], got {self.clip}")

    def fit(self, z: Features) -> RoundedFeatures:
        return RoundedFeatures(Lattice.between(*middle_range(checked(z), self.clip), self.bits))
