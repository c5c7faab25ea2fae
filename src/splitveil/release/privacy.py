"""Local differential privacy: noise set by a promise about any two images."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr

from splitveil.errors import BadPlan
from splitveil.release.base import ReleaseRecipe
from splitveil.release.gaussian import ClippedGaussian, GaussianNoise
from splitveil.release.laplace import ClippedLaplace, l1_ball
from splitveil.shapes import Features

_MU = (1e-12, 1e8)
_LONGEST = 1000.0


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Least delta at which Gaussian noise of sensitivity over sigma `mu` is (epsilon, delta)-DP.

        delta = Phi(mu / 2 - epsilon / mu) - exp(epsilon) Phi(-mu / 2 - epsilon / mu)

    Probability; exact. Source: Balle and Wang 2018.

    Raises:
        BadPlan: if mu is not positive or epsilon negative.
    """
    if not (mu > 0 and epsilon >= 0):
        raise BadPlan(f"mu must be positive and epsilon at least 0, got {mu} and {epsilon}")
    first = float(log_ndtr(mu / 2 - epsilon / mu))
    second = epsilon + float(log_ndtr(-mu / 2 - epsilon / mu))
    return math.exp(first) * -math.expm1(min(0.0, second - first))


def gaussian_mu(epsilon: float, delta: float) -> float:
    """Largest mu = sensitivity / sigma at which Gaussian noise is (epsilon, delta)-DP.

    The inverse of `gaussian_delta`, which grows with mu. R sends with the same noise have sqrt(R)
    mu, exactly. Source: Balle and Wang 2018; Dong, Roth and Su 2019.

    Raises:
        BadPlan: if epsilon is negative or delta not in (0, 1).
    """
    if not (0 <= epsilon < math.inf and 0 < delta < 1):
        raise BadPlan(
            f"epsilon must be finite and at least 0 and delta in (0, 1), got {epsilon} and {delta}"
        )
    low, high = (math.log(end) for end in _MU)
    if epsilon > _LONGEST:
        raise BadPlan(f"epsilon of {epsilon:g} nats promises nothing: give one below {_LONGEST:g}")
    root = brentq(lambda t: gaussian_delta(math.exp(t), epsilon) - delta, low, high, xtol=1e-13)
    mu = math.exp(root)
    # the root's last digit is rounded towards more noise
    return mu if gaussian_delta(mu, epsilon) <= delta else float(np.nextafter(mu * (1 - 1e-12), 0))


@dataclass(frozen=True, kw_only=True)
class GaussianPrivacy(ReleaseRecipe):
    """Clip to a ball, then the least Gaussian noise with (epsilon, delta) local privacy.

    The promise holds for `sends` sends of one image together; sigma = sqrt(sends) 2 B / mu, with mu
    from the analytic Gaussian mechanism. It is about any two images, whatever the receiver knows,
    and misleads when read as a bound on reconstruction: with many values, an epsilon of practical
    size costs more noise than an answer survives. The ball is set on auxiliary images; private ones
    outside it are clipped.

    Raises:
        BadPlan: if epsilon is not positive, delta not in (0, 1), clip not in (0, 1], sends below 1.
    """

    name: ClassVar[str] = "gaussian-dp"
    epsilon: float
    delta: float = 1e-5
    sends: int = 1
    clip: float = 0.99

    def __post_init__(self) -> None:
        _check(self.epsilon, self.sends)
        gaussian_mu(self.epsilon, self.delta)
        GaussianNoise(sigma=1.0, clip=self.clip)

    def fit(self, z: Features) -> ClippedGaussian:
        ball = GaussianNoise(sigma=1.0, clip=self.clip).fit(z)
        mu = gaussian_mu(self.epsilon, self.delta)
        sigma = math.sqrt(self.sends) * ball.sensitivity / mu
        return ClippedGaussian(ball.centre, ball.radius, sigma)


@dataclass(frozen=True, kw_only=True)
class LaplacePrivacy(ReleaseRecipe):
    """Clip to an L1 ball, then Laplace noise with epsilon local privacy (delta 0).

    The promise holds for `sends` sends of one image together, b = sends 2 B / epsilon. It misleads
    as `GaussianPrivacy` does; with many values its noise is larger still.

    Raises:
        BadPlan: if epsilon is not positive, clip not in (0, 1], or sends below 1.
    """

    name: ClassVar[str] = "laplace-dp"
    epsilon: float
    sends: int = 1
    clip: float = 0.99

    def __post_init__(self) -> None:
        _check(self.epsilon, self.sends)
        if not 0 < self.clip <= 1:
            raise BadPlan(f"clip is a share of images in (0, 1], got {self.clip}")

    def fit(self, z: Features) -> ClippedLaplace:
        centre, radius = l1_ball(z, self.clip)
        return ClippedLaplace(centre, radius, self.sends * 2 * radius / self.epsilon)


def _check(epsilon: float, sends: int) -> None:
    if not 0 < epsilon < math.inf:
        raise BadPlan(f"epsilon must be positive and finite, got {epsilon}")
    if sends < 1:
        raise BadPlan(f"sends must be at least 1, got {sends}")
