"""Class scores sent as probabilities."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from splitveil.release.base import Release, ReleaseRecipe
from splitveil.shapes import Features


@dataclass(frozen=True)
class Softmax(Release, ReleaseRecipe):
    """Send exp(z_i) / sum_j exp(z_j) over all values of z, 32 bits a value; no density.

    What a classifier's answer usually is. It hides nothing of the scores but their common offset:
    its logarithm is the scores again, up to rounding. Meant for scores, not for features.
    """

    name: ClassVar[str] = "softmax"

    def fit(self, z: Features) -> "Softmax":
        return self

    def __call__(self, z: Features, generator: torch.Generator) -> Features:
        return z.softmax(1)

    def bits(self, features: int) -> float:
        return 32.0 * features
