"""Clipped Gaussian noise in place while the network is trained."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from splitveil.defences.base import Component, Part, Setting, TrainedRelease, written
from splitveil.release import GaussianNoise
from splitveil.shapes import Features


@dataclass(frozen=True)
class Noise(Component):
    """Sends c + (z - c) min(1, B / |z - c|) + s N(0, I), s = sigma · RMS(z - c).

    c is the batch's mean, B the quantile `clip` of |z - c|, and the RMS carries gradient, so an
    encoder cannot drown the noise by inflating z: what is sent only grows with it. Afterwards
    `GaussianNoise` with the same settings is fitted to training features and stored.

    It misleads where sigma is read across cuts: at equal sigma, wider features carry more.

    Raises:
        BadPlan: if sigma is not positive and finite, or clip not in (0, 1].
    """

    name: ClassVar[str] = "noise"
    reference: ClassVar[str] = "He et al. 2020; clipping as in Abadi et al. 2016"

    sigma: float
    clip: float = 0.99

    def __post_init__(self) -> None:
        self.recipe  # noqa: B018 - its settings are checked when it is made

    @property
    def recipe(self) -> GaussianNoise:
        """The release that ships."""
        return GaussianNoise(sigma=self.sigma, clip=self.clip)

    def prepare(self, setting: Setting) -> Part:
        setting.crossing(self)
        return Part(release=TrainedRelease(recipe=self.recipe, send=self.send, gaussian=True))

    def send(self, z: Features, generator: torch.Generator) -> tuple[Features, Tensor]:
        """What is sent for a batch, and the noise's standard deviation."""
        centre, offset = clipped(z, self.clip)
        scale = self.sigma * (z - centre).square().mean().sqrt()
        return centre + offset + scale * draws(z, generator), scale

    def __str__(self) -> str:
        return written(self)


def clipped(z: Features, share: float) -> tuple[Tensor, Features]:
    """The batch's mean, and offsets from it no longer than the quantile `share` of their lengths.

    Mean and quantile are constants for autograd.
    """
    centre = z.detach().mean(0)
    offset = z - centre
    norm = torch.linalg.vector_norm(offset, dim=1, keepdim=True)
    radius = norm.detach().quantile(share)
    least = radius.clamp_min(torch.finfo(z.dtype).tiny)
    return centre, offset * (radius / norm.clamp_min(least))


def draws(z: Features, generator: torch.Generator) -> Features:
    """Standard normal numbers in the shape of z, the same on every device."""
    return torch.randn(z.shape, generator=generator, dtype=z.dtype).to(z.device)
