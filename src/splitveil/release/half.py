"""Features rounded to half precision."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from splitveil.release.base import Release, ReleaseRecipe
from splitveil.release.coding import Coder, FloatCoder
from splitveil.shapes import Features


@dataclass(frozen=True)
class HalfPrecision(Release, ReleaseRecipe):
    """Round z to float16, clamped to its range; 16 bits a value, deterministic."""

    name: ClassVar[str] = "half"

    def fit(self, z: Features) -> "HalfPrecision":
        return self

    def __call__(self, z: Features, generator: torch.Generator) -> Features:
        limit = torch.finfo(torch.float16).max
        return z.clamp(-limit, limit).to(torch.float16).to(z.dtype)

    def bits(self, features: int) -> float:
        return 16.0 * features

    def coder(self, generator: torch.Generator) -> Coder:
        return FloatCoder(torch.float16)
