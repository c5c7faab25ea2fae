"""What is done to the features before they leave the device."""

from abc import ABC, abstractmethod

import torch

from splitveil.shapes import Features, PerImage


class Release(ABC):
    """A fitted mechanism applied to packed features z of shape (n, f)."""

    @abstractmethod
    def __call__(self, z: Features, generator: torch.Generator) -> Features:
        """What is sent, as the receiver sees it after decoding; same shape as `z`."""

    def log_prob(self, sent: Features, z: Features) -> PerImage | None:
        """Log p(sent | z) in nats per image, or None where no density exists.

        A deterministic release of float features has none: no information-theoretic statement can
        be made about it.
        """
        return None

    @abstractmethod
    def bits(self, features: int) -> float:
        """Bits on the wire for one image of `features` values, before any entropy coding."""


class ReleaseRecipe(ABC):
    """Settings of a release; immutable, its `repr` rebuilds it."""

    @abstractmethod
    def fit(self, z: Features) -> Release:
        """Calibrate scales on clean features of auxiliary images, never on private ones."""
