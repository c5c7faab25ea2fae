"""What may be done to a transmission without changing what it tells, and what may not."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from splitveil.errors import BadInput
from splitveil.release.base import Envelope, Release
from splitveil.rng import Rng
from splitveil.shapes import Features, PerImage, Targets

Recoding: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Bijection:
    """An invertible network: `scale` times layers v -> leaky(Q v), inverse and slope known.

    `rotations` Q (l, f, f) orthogonal, float64; negative values are multiplied by `slope` after
    each. With slope 1 it is a rotation, without layers a rescaling.

    Raises:
        BadInput: if a matrix is not orthogonal, or slope or scale is not positive and finite.
    """

    rotations: Float64[Tensor, "l f f"]
    slope: float = 1.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        eye = torch.eye(self.rotations.shape[1], dtype=torch.float64)
        if not torch.allclose(self.rotations @ self.rotations.mT, eye.expand_as(self.rotations)):
            raise BadInput("every matrix of a bijection must be orthogonal")
        if not (0 < self.slope < math.inf and 0 < self.scale < math.inf):
            raise BadInput(f"slope and scale must be positive, got {self.slope}, {self.scale}")

    @staticmethod
    def random(features: int, rng: Rng, *, layers: int = 3, slope: float = 0.3) -> "Bijection":
        """Random rotations with leaky kinks between them."""
        generator = rng.child("bijection").torch()
        drawn = torch.randn(layers, features, features, generator=generator, dtype=torch.float64)
        return Bijection(torch.linalg.qr(drawn).Q, slope)

    def __call__(self, z: Float[Tensor, "n f"]) -> Float[Tensor, "n f"]:
        for rotation in self.rotations:
            z = nn.functional.leaky_relu(z @ rotation.T.to(z.dtype), self.slope)
        return self.scale * z

    def inverse(self, sent: Float[Tensor, "n f"]) -> Float[Tensor, "n f"]:
        """The z that was sent."""
        return self._undo(sent)[0]

    def log_slope(self, sent: Float[Tensor, "n f"]) -> PerImage:
        """Log |det dz'/dz| in nats where z' was sent, one value a row."""
        return self._undo(sent)[1]

    def _undo(self, sent: Tensor) -> tuple[Tensor, Tensor]:
        z = sent / self.scale
        kinks = torch.zeros(len(sent), dtype=torch.float64)
        for rotation in reversed(self.rotations):
            kinks += (z < 0).sum(1)
            z = nn.functional.leaky_relu(z, 1 / self.slope) @ rotation.to(z.dtype)
        return z, kinks * math.log(self.slope) + sent.shape[1] * math.log(self.scale)


@dataclass(frozen=True, eq=False)
class RecodedRelease(Release):
    """Another release followed by a bijection: it tells exactly as much, in other numbers."""

    inner: Release
    recoding: Bijection

    def __call__(self, z: Features, generator: torch.Generator) -> Features:
        return self.recoding(self.inner(z, generator))

    @property
    def has_density(self) -> bool:
        return self.inner.has_density

    def log_prob(self, sent: Features, z: Features) -> PerImage | None:
        found = self.inner.log_prob(self.recoding.inverse(sent), z)
        return None if found is None else found - self.recoding.log_slope(sent)

    def pairwise_log_prob(
        self, sent: Float[Tensor, "q f"], z: Float[Tensor, "n f"]
    ) -> Float[Tensor, "q n"] | None:
        found = self.inner.pairwise_log_prob(self.recoding.inverse(sent), z)
        return None if found is None else found - self.recoding.log_slope(sent)[:, None]

    def envelope(self, features: int) -> Envelope | None:
        """The inner one, carried over: the same ceiling, since log ratios do not move."""
        inner = self.inner.envelope(features)
        if inner is None:
            return None

        def log_density(sent: Features) -> PerImage:
            return inner.log_density(self.recoding.inverse(sent)) - self.recoding.log_slope(sent)

        return Envelope(log_density, inner.ceiling)

    def bits(self, features: int) -> float:
        return self.inner.bits(features)

    def capacity(self, features: int) -> float:
        return self.inner.capacity(features)


def harmless_recodings(features: int, rng: Rng) -> dict[str, Recoding]:
    """By name, maps of what is sent that tell an attacker neither more nor less.

    A quantity that claims to speak of leakage must be unmoved by all of them; one that is moved
    is a proxy.
    """
    generator = rng.child("recodings").torch()
    order = torch.randperm(features, generator=generator)
    noise = rng.child("padding")

    def noised(z: Tensor) -> Tensor:
        more = torch.randn(z.shape, generator=noise.torch(), dtype=z.dtype)
        return torch.cat([z, more], 1)

    return {
        "rescaled": lambda z: 7 * z,
        "permuted": lambda z: z[:, order],
        "rotated": Bijection.random(features, rng, layers=1, slope=1.0),
        "bent": Bijection.random(features, rng),
        "duplicated": lambda z: torch.cat([z, z], 1),
        "padded": lambda z: torch.cat([z, torch.ones_like(z)], 1),
        "padded with noise": noised,
    }


def with_a_value_appended(z: Float[Tensor, "n f"], x: Targets) -> Float[Tensor, "n g"]:
    """Features with the first value of each target beside them: leakage must rise."""
    return torch.cat([z, x.flatten(1)[:, :1].to(z.dtype)], 1)


def of_other_images(z: Float[Tensor, "n f"], rng: Rng) -> Float[Tensor, "n f"]:
    """Features dealt out to other images at random: leakage must vanish."""
    return z[torch.randperm(len(z), generator=rng.child("others").torch())]
