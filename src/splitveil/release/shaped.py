"""Gaussian noise of another size on every value, shaped to cost least for the information left."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Float64
from scipy.optimize import brentq
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.release.base import Envelope, Release, ReleaseRecipe
from splitveil.release.gaussian import ClippedGaussian, GaussianNoise
from splitveil.shapes import Features, PerImage

_FLOOR = 1e-4


@dataclass(frozen=True, eq=False)
class ShapedGaussian(Release):
    """Send c + (z - c) min(1, B / |z - c|) + N(0, diag(s²)): `ClippedGaussian` with s by value.

    `sigma` is s of shape (f), every one positive, in feature units.
    """

    ball: ClippedGaussian
    sigma: Float[Tensor, " f"]

    def clip(self, z: Features) -> Features:
        """Z moved to the nearest point of the ball along its radius."""
        return self.ball.clip(z)

    def __call__(self, z: Features, generator: torch.Generator) -> Features:
        noise = torch.randn(z.shape, generator=generator, dtype=z.dtype).to(z.device)
        return self.clip(z) + self.sigma.to(z.device, z.dtype) * noise

    @property
    def has_density(self) -> bool:
        return True

    def log_prob(self, sent: Features, z: Features) -> PerImage:
        apart = (sent - self.clip(z)).double() / self.sigma.to(z.device).double()
        return self._density(apart.square().sum(1))

    def pairwise_log_prob(
        self, sent: Float[Tensor, "q f"], z: Float[Tensor, "n f"]
    ) -> Float[Tensor, "q n"]:
        """One matrix product of whitened features, centred first so that squares do not cancel."""
        white = 1 / self.sigma.to(z.device).double()
        mean = self.clip(z)
        middle = mean.mean(0)
        a, b = (sent - middle).double() * white, (mean - middle).double() * white
        squared = a.square().sum(1)[:, None] - 2 * a @ b.T + b.square().sum(1)
        return self._density(squared.clamp_min_(0))

    def _density(self, squared: Tensor) -> Tensor:
        logs = float(self.sigma.double().log().sum())
        return -squared / 2 - logs - 0.5 * len(self.sigma) * math.log(2 * math.pi)

    def bits(self, features: int) -> float:
        return 32.0 * features

    def capacity(self, features: int) -> float:
        """The smaller of payload and the water-filled capacity at power B², in nats.

        sum_i 1/2 log(1 + p_i / s_i²)  with  p_i = max(0, w - s_i²) and sum p_i = B²
        """
        noise = self.sigma.double().square().sort().values
        sums = noise.cumsum(0)
        counts = torch.arange(1, len(noise) + 1, dtype=torch.float64)
        levels = (self.ball.radius**2 + sums) / counts
        used = int((levels > noise).sum())
        level = levels[used - 1]
        power = 0.5 * float((level / noise[:used]).log().sum())
        return min(power, self.bits(features) * math.log(2))

    def envelope(self, features: int) -> Envelope | None:
        """N(c, diag(s² + B² / f)), exceeded by sum_i 1/2 log(1 + B² / (f s_i²)) + f / 2 at most.

        As for `ClippedGaussian`, value by value. None without a finite radius.
        """
        if not 0 < self.ball.radius < math.inf:
            return None
        spare = self.ball.radius**2 / features
        noise = self.sigma.double().square()
        wide = ShapedGaussian(self.ball, (noise + spare).sqrt())

        def log_density(sent: Features) -> PerImage:
            centre = self.ball.centre.to(sent.device, sent.dtype)
            return wide._density(((sent - centre).double() / wide.sigma).square().sum(1))

        ceiling = 0.5 * float(torch.log1p(spare / noise).sum()) + 0.5 * features
        return Envelope(log_density, ceiling)

    def __repr__(self) -> str:
        return (
            f"ShapedGaussian(f={len(self.sigma)}, radius={self.ball.radius}, "
            f"sigma={float(self.sigma.min()):.3g}..{float(self.sigma.max()):.3g})"
        )


def floored(values: Float64[Tensor, " f"]) -> Float64[Tensor, " f"]:
    """At least 1e-4 of the mean everywhere, so that no value is sent bare."""
    return values.clamp_min(_FLOOR * float(values.mean()))


def shaped_variances(
    variances: Float64[Tensor, " f"], curvatures: Float64[Tensor, " f"], rate: float
) -> Float64[Tensor, " f"]:
    """Noise variances n that cost least, sum u_i n_i, for a rate of information.

        minimise sum u_i n_i  with  1/2 sum log(1 + s_i / n_i) = f rate
        n_i = (-s_i + sqrt(s_i² + 2 t s_i / u_i)) / 2

    Optimal where features are independent and Gaussian with variances s and the loss is quadratic
    with curvatures u; elsewhere a shape like another, whose leakage an audit measures. t is found
    by root finding in its logarithm.

    Args:
        variances: s > 0, squared feature units.
        curvatures: u > 0, loss per squared feature unit.
        rate: nats per value.

    Raises:
        BadPlan: if the rate is not positive and finite.
        BadData: if a variance or curvature is not positive.
    """
    if not 0 < rate < math.inf:
        raise BadPlan(f"rate must be positive and finite, in nats per value, got {rate}")
    s, u, unit = _scaled(variances, curvatures)

    def excess(log_t: float) -> float:
        return 0.5 * float(torch.log1p(s / _noise(s, u, log_t)).mean()) - rate

    found = brentq(excess, -2 * rate - 60, 60 - 2 * math.log(min(1.0, rate)), xtol=1e-12)
    return _noise(s, u, float(found)) * unit


def powered_variances(
    variances: Float64[Tensor, " f"], curvatures: Float64[Tensor, " f"], power: float
) -> Float64[Tensor, " f"]:
    """Noise variances n of mean `power` that cost least, sum u_i n_i, for the rate they leave.

    The point of mean n_i = power on the curve of `shaped_variances`: no other n costs as little and
    leaves as little. What is said there of when that is optimal holds here.

    Args:
        variances: s > 0, squared feature units.
        curvatures: u > 0, loss per squared feature unit.
        power: mean variance of the noise, squared feature units.

    Raises:
        BadPlan: if the power is not positive and finite.
        BadData: if a variance or curvature is not positive.
    """
    if not 0 < power < math.inf:
        raise BadPlan(f"power must be positive and finite, got {power}")
    s, u, unit = _scaled(variances, curvatures)
    wanted = power / unit
    # the t at which a value by itself has this power: the answer lies between the extremes
    ends = (2 * u * wanted * (1 + wanted / s)).log()
    low, high = float(ends.min()) - 1e-9, float(ends.max()) + 1e-9

    def excess(log_t: float) -> float:
        return math.log(float(_noise(s, u, log_t).mean()) / wanted)

    return _noise(s, u, float(brentq(excess, low, high, xtol=1e-12))) * unit


def _scaled(
    variances: Float64[Tensor, " f"], curvatures: Float64[Tensor, " f"]
) -> tuple[Tensor, Tensor, float]:
    """Both over their means, and the mean of the variances."""
    if not bool((variances > 0).all() and (curvatures > 0).all()):
        raise BadData("variances and curvatures must be positive: raise those of dead values")
    unit = float(variances.mean())
    return variances / unit, curvatures / curvatures.mean(), unit


def _noise(s: Tensor, u: Tensor, log_t: float) -> Tensor:
    """(-s + sqrt(s² + 2 t s / u)) / 2, the difference of near numbers written as a quotient."""
    gain = 2 * math.exp(log_t) * s / u
    return gain / (s + (s.square() + gain).sqrt()) / 2


@dataclass(frozen=True, kw_only=True)
class ShapedNoise(ReleaseRecipe):
    """Clip to a ball, then the least noise by value that leaves `rate` nats per value.

    1/2 mean log(1 + s_i / n_i) = rate for the auxiliary variances s_i of values taken as
    independent and Gaussian: a proxy, no bound; what is proved comes from the density. Values that
    hardly vary count with at least 1e-4 of the mean variance, or they would be sent bare.

    Raises:
        BadPlan: if the rate is not positive and finite, or clip not in (0, 1].
    """

    name: ClassVar[str] = "shaped"
    rate: float
    clip: float = 0.99

    def __post_init__(self) -> None:
        if not 0 < self.rate < math.inf:
            raise BadPlan(f"rate must be positive and finite, in nats per value, got {self.rate}")
        GaussianNoise(sigma=1.0, clip=self.clip)

    def fit(self, z: Features) -> ShapedGaussian:
        ball = GaussianNoise(sigma=1.0, clip=self.clip).fit(z)
        variances = z.detach().double().var(0, correction=0)
        variances = floored(variances)
        noise = shaped_variances(variances, torch.ones_like(variances), self.rate)
        return ShapedGaussian(ball, noise.sqrt().to(z.dtype))
