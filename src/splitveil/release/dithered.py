"""Features rounded after a shared random shift, which is then taken off again."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from splitveil.errors import BadPlan
from splitveil.release.base import Envelope, Release, ReleaseRecipe
from splitveil.release.calibration import checked, middle_range
from splitveil.release.coding import Coder, Lattice, LatticeCoder, dither
from splitveil.shapes import Features, PerImage


@dataclass(frozen=True)
class DitheredFeatures(Release):
    """Send Q(z + u) - u with u uniform on a cell and known to both ends.

    The error is uniform on the cell and independent of z (Schuchman 1964), and what is sent is
    sufficient: knowing u as well tells an attacker no more about z.
    """

    lattice: Lattice

    def __call__(self, z: Features, generator: torch.Generator) -> Features:
        shift = dither(self.lattice, (z.shape[0], z.shape[1]), z.dtype, generator).to(z.device)
        inside = z.clamp(self.lattice.low, self.lattice.high)
        return self.lattice.points(self.lattice.levels(inside + shift), z.dtype) - shift

    @property
    def has_density(self) -> bool:
        return True

    def log_prob(self, sent: Features, z: Features) -> PerImage:
        """-f log(step) where every value lies within half a step of z clipped, else -inf."""
        inside = z.clamp(self.lattice.low, self.lattice.high)
        size = max(abs(self.lattice.low), abs(self.lattice.high)) + self.lattice.step
        slack = 4 * torch.finfo(z.dtype).eps * size
        worst = (sent - inside).abs().amax(1).double()
        density = torch.full_like(worst, -z.shape[1] * math.log(self.lattice.step))
        return density.masked_fill_(worst > self.lattice.step / 2 + slack, -math.inf)

    def envelope(self, features: int) -> Envelope:
        """Uniform over the range and half a step beyond; the ceiling is the payload f b log 2."""
        width = self.lattice.high - self.lattice.low + self.lattice.step
        constant = features * math.log(width)

        def log_density(sent: Features) -> PerImage:
            return torch.full((len(sent),), -constant, dtype=torch.float64)

        return Envelope(log_density, constant - features * math.log(self.lattice.step))

    def bits(self, features: int) -> float:
        return float(self.lattice.bits * features)

    def coder(self, generator: torch.Generator) -> Coder:
        return LatticeCoder(self.lattice, generator.get_state())


@dataclass(frozen=True, kw_only=True)
class DitheredQuantiser(ReleaseRecipe):
    """Round features to 2**bits levels with subtractive dither.

    Range as in `UniformQuantiser`.

    Raises:
        BadPlan: if bits is not in 1..8, or clip not in (0, 1].
    """

    name: ClassVar[str] = "dither"
    bits: int
    clip: float = 0.9995

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise BadPlan(f"bits must lie between 1 and 8, got {self.bits}")
        if not 0 < self.clip <= 1:
            raise BadPlan(f"clip is a share of values in (0, 1], got {self.clip}")

    def fit(self, z: Features) -> DitheredFeatures:
        return DitheredFeatures(Lattice.between(*middle_range(checked(z), self.clip), self.bits))
