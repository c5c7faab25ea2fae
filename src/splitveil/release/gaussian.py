"""Features clipped to a ball, then drowned in Gaussian noise."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.release.ball import into_ball
from splitveil.release.base import Envelope, Release, ReleaseRecipe
from splitveil.release.calibration import checked
from splitveil.shapes import Features, PerImage

_TOGETHER = 32


@dataclass(frozen=True, eq=False)
class ClippedGaussian(Release):
    """Send c + (z - c) min(1, B / |z - c|) + s N(0, I).

    `centre` is c of shape (f), `radius` B and `sigma` s are in feature units. Float32 noise has
    finite resolution: the density is that of real-valued noise.
    """

    centre: Float[Tensor, " f"]
    radius: float
    sigma: float

    @property
    def sensitivity(self) -> float:
        """Largest L2 distance between the noiseless releases of two images: 2 B."""
        return 2 * self.radius

    def clip(self, z: Features) -> Features:
        """Z moved to the nearest point of the ball along its radius."""
        return into_ball(z, self.centre, self.radius, order=2)

    def __call__(self, z: Features, generator: torch.Generator) -> Features:
        noise = torch.randn(z.shape, generator=generator, dtype=z.dtype)
        return self.clip(z) + self.sigma * noise.to(z.device)

    @property
    def has_density(self) -> bool:
        return True

    def log_prob(self, sent: Features, z: Features) -> PerImage:
        squared = (sent - self.clip(z)).square().sum(1, dtype=torch.float64)
        return self._density(squared, z.shape[1])

    def pairwise_log_prob(
        self, sent: Float[Tensor, "q f"], z: Float[Tensor, "n f"]
    ) -> Float[Tensor, "q n"]:
        """One matrix product, centred first so that squares do not cancel."""
        mean = self.clip(z)
        middle = mean.mean(0)
        a, b = (sent - middle).double(), (mean - middle).double()
        squared = a.square().sum(1)[:, None] - 2 * a @ b.T + b.square().sum(1)
        return self._density(squared.clamp_min_(0), z.shape[1])

    def _density(self, squared: Tensor, features: int) -> Tensor:
        constant = 0.5 * features * math.log(2 * math.pi * self.sigma**2)
        return -squared / (2 * self.sigma**2) - constant

    def bits(self, features: int) -> float:
        return 32.0 * features

    def capacity(self, features: int) -> float:
        """The smaller of payload and power: (f / 2) log(1 + B² / (f s²)) nats."""
        power = 0.5 * features * math.log1p(self.radius**2 / (features * self.sigma**2))
        return min(power, self.bits(features) * math.log(2))

    def envelope(self, features: int) -> Envelope | None:
        """N(c, (s² + B² / f) I), which p(sent | z) exceeds by (f / 2)(log(1 + B² / (f s²)) + 1).

        The log ratio of N(z, s²) to N(c, t²) is largest where |sent - c| = |z - c| t² / (t² - s²),
        and is f log(t / s) + |z - c|² / (2 (t² - s²)) there. None without a finite radius.
        """
        if not 0 < self.radius < math.inf:
            return None
        variance = self.sigma**2 + self.radius**2 / features
        constant = 0.5 * features * math.log(2 * math.pi * variance)

        def log_density(sent: Features) -> PerImage:
            offset = sent - self.centre.to(sent.device, sent.dtype)
            squared = offset.square().sum(1, dtype=torch.float64)
            return -squared / (2 * variance) - constant

        ceiling = 0.5 * features * (math.log(variance / self.sigma**2) + 1)
        return Envelope(log_density, ceiling)

    def __repr__(self) -> str:
        return f"ClippedGaussian(f={len(self.centre)}, radius={self.radius}, sigma={self.sigma})"


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(ReleaseRecipe):
    """Clip features to a ball around their mean, then add Gaussian noise.

    The ball holds the share `clip` of auxiliary images. With `scale="rms"`, `sigma` counts in root
    mean squares of auxiliary features about their mean, per value; with "absolute", in feature
    units.

    Raises:
        BadPlan: if sigma is not positive and finite, or clip not in (0, 1].
    """

    name: ClassVar[str] = "gaussian"
    sigma: float
    clip: float = 0.99
    scale: Literal["rms", "absolute"] = "rms"

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise BadPlan(
                f"sigma must be positive and finite, got {self.sigma}: name a size such as 0.3, or "
                "leave the noise out"
            )
        if not 0 < self.clip <= 1:
            raise BadPlan(f"clip is a share of images in (0, 1], got {self.clip}")
        if self.scale not in ("rms", "absolute"):
            raise BadPlan(f"scale must be 'rms' or 'absolute', got '{self.scale}'")

    def fit(self, z: Features) -> ClippedGaussian:
        z = checked(z)
        # some columns, then some rows at a time: sums in float64 would copy the whole
        columns = [part.double().mean(0) for part in z.split(_TOGETHER, 1)]
        centre = torch.cat(columns).to(z.dtype)
        rows = [(part - centre).square().sum(1, dtype=torch.float64) for part in z.split(_TOGETHER)]
        squared = torch.cat(rows)
        radius = float(squared.sqrt().quantile(self.clip))
        rms = math.sqrt(float(squared.mean()) / z.shape[1])
        if not radius > 0:
            raise BadData(
                f"features of {len(z)} auxiliary images do not vary, so noise relative to them "
                "has no scale: give more images or choose another cut"
            )
        sigma = self.sigma * rms if self.scale == "rms" else self.sigma
        return ClippedGaussian(centre, radius, sigma)
