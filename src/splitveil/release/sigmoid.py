"""Scores of attributes sent as probabilities."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from splitveil.release.base import Release, ReleaseRecipe
from splitveil.shapes import Features


@dataclass(frozen=True)
class Sigmoid(Release, ReleaseRecipe):
    """Send 1 / (1 + exp(-z_i)) for every value of z, 32 bits a value; no density.

    What a network of yes-or-no attributes usually answers. Its log odds are the scores again, up to
    rounding; a score beyond 17 is 1 exactly. Meant for scores, not for features.
    """

    name: ClassVar[str] = "sigmoid"

    def fit(self, z: Features) -> "Sigmoid":
        return self

    def __call__(self, z: Features, generator: torch.Generator) -> Features:
        return z.sigmoid()

    def bits(self, features: int) -> float:
        return 32.0 * features
