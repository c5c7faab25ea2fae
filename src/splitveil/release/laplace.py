"""Features clipped to a ball of the sum of absolutes, then drowned in Laplace noise."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.release.ball import into_ball
from splitveil.release.base import Envelope, Release, ReleaseRecipe
from splitveil.release.calibration import checked
from splitveil.shapes import Features, PerImage


@dataclass(frozen=True, eq=False)
class ClippedLaplace(Release):
    """Send c + (z - c) min(1, B / |z - c|_1) + Laplace(0, b) on every value.

    `centre` is c of shape (f), `radius` B and `scale` b are in feature units; the noise's standard
    deviation is sqrt(2) b. Any two images are told apart by at most a factor exp(`epsilon`) of one
    send's density, whatever the receiver knows. Float32 noise has finite resolution: the density,
    and what it promises, is that of real-valued noise.
    """

    centre: Float[Tensor, " f"]
    radius: float
    scale: float

    @property
    def sensitivity(self) -> float:
        """Largest L1 distance between the noiseless releases of two images: 2 B."""
        return 2 * self.radius

    @property
    def epsilon(self) -> float:
        """Local differential privacy of one send, in nats: 2 B / b."""
        return self.sensitivity / self.scale

    def clip(self, z: Features) -> Features:
        """Z moved to the nearest point of the ball along its radius."""
        return into_ball(z, self.centre, self.radius, order=1)

    def __call__(self, z: Features, generator: torch.Generator) -> Features:
        ends = torch.empty((2, *z.shape), dtype=z.dtype).exponential_(generator=generator)
        return self.clip(z) + self.scale * (ends[0] - ends[1]).to(z.device)

    @property
    def has_density(self) -> bool:
        return True

    def log_prob(self, sent: Features, z: Features) -> PerImage:
        return self._density((sent - self.clip(z)).abs().sum(1, dtype=torch.float64), z.shape[1])

    def pairwise_log_prob(
        self, sent: Float[Tensor, "q f"], z: Float[Tensor, "n f"]
    ) -> Float[Tensor, "q n"]:
        apart = torch.cdist(sent.double(), self.clip(z).double(), p=1)
        return self._density(apart, z.shape[1])

    def _density(self, apart: Tensor, features: int) -> Tensor:
        return -apart / self.scale - features * math.log(2 * self.scale)

    def bits(self, features: int) -> float:
        return 32.0 * features

    def capacity(self, features: int) -> float:
        """The least of payload, f log(1 + B / (f b)) and epsilon, in nats.

        The second: what is sent has a mean absolute value of at most B + f b about c, and Laplace
        is the law of largest entropy under that.
        """
        power = features * math.log1p(self.radius / (features * self.scale))
        return min(power, self.epsilon, self.bits(features) * math.log(2))

    def envelope(self, features: int) -> Envelope | None:
        """Laplace(c, t), t = b + B / f, which p(sent | z) exceeds by f log(t / b) + B / t at most.

        By the triangle inequality, |sent - c| / t <= |sent - z| / b + B / t. None without a finite
        radius.
        """
        if not 0 < self.radius < math.inf:
            return None
        wide = self.scale + self.radius / features

        def log_density(sent: Features) -> PerImage:
            offset = sent - self.centre.to(sent.device, sent.dtype)
            apart = offset.abs().sum(1, dtype=torch.float64)
            return -apart / wide - features * math.log(2 * wide)

        return Envelope(log_density, features * math.log(wide / self.scale) + self.radius / wide)

    def __repr__(self) -> str:
        return f"ClippedLaplace(f={len(self.centre)}, radius={self.radius}, scale={self.scale})"


@dataclass(frozen=True, kw_only=True)
class LaplaceNoise(ReleaseRecipe):
    """Clip features to an L1 ball around their mean, then add Laplace noise to every value.

    The ball holds the share `clip` of auxiliary images; `sigma`, the noise's standard deviation,
    counts in root mean squares of auxiliary features about their mean, per value.

    Raises:
        BadPlan: if sigma is not positive and finite, or clip not in (0, 1].
    """

    name: ClassVar[str] = "laplace"
    sigma: float
    clip: float = 0.99

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise BadPlan(
                f"sigma must be positive and finite, got {self.sigma}: name a size such as 0.3, or "
                "leave the noise out"
            )
        if not 0 < self.clip <= 1:
            raise BadPlan(f"clip is a share of images in (0, 1], got {self.clip}")

    def fit(self, z: Features) -> ClippedLaplace:
        centre, radius = l1_ball(z, self.clip)
        squared = (z - centre).square().sum(1, dtype=torch.float64)
        rms = math.sqrt(float(squared.mean()) / z.shape[1])
        return ClippedLaplace(centre, radius, self.sigma * rms / math.sqrt(2))


def l1_ball(z: Features, share: float) -> tuple[Float[Tensor, " f"], float]:
    """Mean of the features and the L1 radius about it that holds a share of them.

    Raises:
        BadData: if the features are empty, not finite, or do not vary.
    """
    z = checked(z)
    centre = z.mean(0, dtype=torch.float64).to(z.dtype)
    radius = float((z - centre).abs().sum(1, dtype=torch.float64).quantile(share))
    if not radius > 0:
        raise BadData(
            f"features of {len(z)} auxiliary images do not vary, so noise relative to them has no "
            "scale: give more images or choose another cut"
        )
    return centre, radius
