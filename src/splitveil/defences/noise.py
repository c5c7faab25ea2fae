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
        centre = z.detach().mean(0)
        offset = z - centre
        norm = torch.linalg.vector_norm(offset, dim=1, keepdim=True)
        radius = norm.detach().quantile(self.clip)
        scale = self.sigma * offset.square().mean().sqrt()
        shrink = radius / norm.clamp_min(radius.clamp_min(torch.finfo(z.dtype).tiny))
        draws = torch.randn(z.shape, generator=generator, dtype=z.dtype).to(z.device)
        return centre + offset * shrink + scale * draws, scale

    def __str__(self) -> str:
        return written(self)
