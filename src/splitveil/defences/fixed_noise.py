"""One noise tensor, drawn once, that the device adds to everything it sends."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from splitveil.defences.base import Component, Part, Setting, TrainedRelease, written
from splitveil.errors import BadPlan
from splitveil.release import PooledNoise, ReleaseRecipe
from splitveil.release.calibration import checked
from splitveil.shapes import Features


@dataclass(frozen=True, eq=False)
class _Drawn(ReleaseRecipe):
    """The tensor in units of the features' RMS."""

    name: ClassVar[str] = "pool"
    noise: Tensor

    def fit(self, z: Features) -> PooledNoise:
        return PooledNoise((self.noise * checked(z).square().mean().sqrt()).cpu())


@dataclass(frozen=True)
class FixedNoise(Component):
    """Sends z + RMS(z) · e, e Gaussian of deviation `sigma`, drawn once and kept by the device.

    The same e at every send: an attacker with pairs, or the mean of many sends, subtracts it, and
    no entropy is added from one send to the next. It sets networks apart that were trained with
    different tensors, which is what `ensembler` needs; e comes from the seed of the hardening.

    Raises:
        BadPlan: if sigma is not positive.
    """

    name: ClassVar[str] = "fixed-noise"
    reference: ClassVar[str] = "Liu et al. 2024 (Ensembler)"

    sigma: float

    def __post_init__(self) -> None:
        if not 0 < self.sigma < float("inf"):
            raise BadPlan(
                f"fixed-noise: sigma must be positive and finite, got {self.sigma}: name a size "
                "such as 0.3, or leave the noise out"
            )

    def prepare(self, setting: Setting) -> Part:
        size = setting.crossing(self).size
        noise = self.sigma * torch.randn(1, size, generator=setting.rng.child("noise").torch())

        def send(z: Features, generator: torch.Generator) -> tuple[Features, None]:
            return z + z.square().mean().sqrt() * noise.to(z), None

        return Part(
            release=TrainedRelease(recipe=_Drawn(noise), send=send),
            notes=(f"{self}: the tensor follows from the seed; who has either subtracts it.",),
        )

    def __str__(self) -> str:
        return written(self)
