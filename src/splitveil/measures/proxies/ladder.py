"""Estimators of information tried where the answer is known."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from scipy import integrate, optimize
from torch import Tensor

from splitveil.errors import BadPlan, UnknownName
from splitveil.measures.checks import OtherFeatures
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.shapes import Targets

Estimator: TypeAlias = Callable[[Tensor, Tensor, Rng], Quantity]
_PEAK = 0.1
NATS = (0.5, 2.0, 5.0, 10.0, 20.0)
SOURCES = ("gaussian", "half-cube", "spiral", "uniform", "mixture")


@dataclass(frozen=True)
class Rung:
    """The true information of a problem in nats, and what the estimator made of it."""

    nats: float
    found: Quantity


@dataclass(frozen=True)
class Calibrated:
    """An estimate beside what the same estimator says where the truth is known, by source."""

    found: Quantity
    ladders: dict[str, tuple[Rung, ...]]

    def __str__(self) -> str:
        """The value, and a line of truth -> answer for each source."""
        lines = [str(self.found)]
        for source, rungs in self.ladders.items():
            steps = ", ".join(f"{rung.nats:g} -> {rung.found.value:.3g}" for rung in rungs)
            lines.append(f"{source}: {steps}")
        return "\n".join(lines)


def gaussian_pairs(nats: float, dimensions: int, n: int, rng: Rng) -> tuple[Tensor, Tensor]:
    """Pairs of standard normals correlated value by value, I = -(d/2) log(1 - rho²) = `nats`."""
    rho = math.sqrt(-math.expm1(-2 * nats / dimensions))
    generator = rng.child("ladder", nats).torch()
    x, noise = torch.randn(2, n, dimensions, generator=generator, dtype=torch.float64)
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def half_cube(z: Tensor) -> Tensor:
    """Each value z to z sqrt|z|: a bijection with long tails."""
    return z * z.abs().sqrt()


def spiral(z: Tensor) -> Tensor:
    """Neighbouring values turned by an angle of |z|: a bijection that keeps the norm."""
    pairs = z.shape[1] // 2
    a, b = z[:, :pairs], z[:, pairs : 2 * pairs]
    angle = z.norm(dim=1, keepdim=True)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([cos * a - sin * b, sin * a + cos * b, z[:, 2 * pairs :]], 1)


def uniform_pairs(nats: float, dimensions: int, n: int, rng: Rng) -> tuple[Tensor, Tensor]:
    """X uniform on [0, 1] and Z = X + U, U uniform on [-a, a], value by value.

    I for each value is a - log(2 a) where 2 a <= 1 and 1 / (4 a) beyond, as Z has a trapezoidal
    density.
    """
    generator = rng.child("uniform", nats).torch()
    x, noise = torch.rand(2, n, dimensions, generator=generator, dtype=torch.float64)
    if not nats:
        return x, noise
    return x, x + _half_width(nats / dimensions) * (2 * noise - 1)


def _half_width(nats: float) -> float:
    if nats < 0.5:
        return 1 / (4 * nats)
    return float(optimize.brentq(lambda a: a - math.log(2 * a) - nats, 1e-12, 0.5))


def mixture_pairs(nats: float, dimensions: int, n: int, rng: Rng) -> tuple[Tensor, Tensor]:
    """X an even mixture of N(-1, .01) and N(1, .01) and Z = X + s E, value by value.

    The noise s that gives the information is found by quadrature over z.
    """
    generator = rng.child("mixture", nats).torch()
    inner, noise = torch.randn(2, n, dimensions, generator=generator, dtype=torch.float64)
    signs = 2.0 * torch.randint(0, 2, (n, dimensions), generator=generator) - 1
    x = signs + _PEAK * inner
    return x, (x + _mixture_noise(nats / dimensions) * noise if nats else noise)


def _mixture_noise(nats: float) -> float:
    def excess(log_sigma: float) -> float:
        return _two_peaks(math.exp(log_sigma)) - nats

    return math.exp(optimize.brentq(excess, math.log(1e-6), math.log(1e3), xtol=1e-9))


def _two_peaks(sigma: float) -> float:
    """I of one value of `mixture_pairs`, nats."""
    width = math.hypot(_PEAK, sigma)
    z = torch.linspace(-1 - 10 * width, 1 + 10 * width, 20_001, dtype=torch.float64)
    peaks = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    log_p = torch.distributions.Normal(peaks, width).log_prob(z[:, None]).logsumexp(1)
    log_p -= math.log(2)
    entropy = -float(integrate.trapezoid((log_p.exp() * log_p).numpy(), z.numpy()))
    return entropy - 0.5 * math.log(2 * math.pi * math.e * sigma**2)


def known_pairs(
    source: str, nats: float, dimensions: int, n: int, rng: Rng
) -> tuple[Tensor, Tensor]:
    """Pairs whose information is `nats`: of the named law.

    "half-cube" and "spiral" recode one side of the Gaussian pairs, which changes no information.

    Raises:
        UnknownName: if there is no such source.
    """
    if source == "uniform":
        return uniform_pairs(nats, dimensions, n, rng)
    if source == "mixture":
        return mixture_pairs(nats, dimensions, n, rng)
    x, z = gaussian_pairs(nats, dimensions, n, rng)
    if source == "gaussian":
        return x, z
    if source == "half-cube":
        return half_cube(x), half_cube(z)
    if source == "spiral":
        return x, spiral(z)
    raise UnknownName("source", source, SOURCES)


def calibration_ladder(
    estimator: Estimator,
    rng: Rng,
    *,
    nats: Sequence[float] = NATS,
    dimensions: int = 8,
    images: int = 4000,
    source: str = "gaussian",
) -> tuple[Rung, ...]:
    """What an estimator says of pairs of known information.

    Show it next to any value of that estimator, at the same number of images: where the ladder
    flattens, values mean "at least so much" at best. Gaussian pairs are the easy case.

    Args:
        estimator: such as `mine`, called with (n, d) pairs and a stream.
        rng: stream of pairs and of the estimator.
        nats: true values to try; 0 is independence.
        dimensions: values of each image and of its features.
        images: pairs.
        source: "gaussian", either recoding of it ("half-cube", "spiral"), "uniform" or "mixture".

    Returns:
        One rung for each of `nats`, in order.

    Raises:
        BadPlan: if a value is negative or not finite, or there are no dimensions.
        UnknownName: if there is no such source.
    """
    if dimensions < 1 or any(not 0 <= value < math.inf for value in nats):
        raise BadPlan(f"a ladder needs dimensions and finite nats >= 0, got {dimensions}, {nats}")
    return tuple(
        Rung(
            value,
            estimator(*known_pairs(source, value, dimensions, images, rng), rng.child(value)),
        )
        for value in nats
    )


def calibrated(
    estimator: Estimator,
    x: Targets,
    features: OtherFeatures,
    rng: Rng,
    *,
    nats: Sequence[float] = NATS,
    dimensions: int = 8,
    sources: Sequence[str] = ("gaussian",),
) -> Calibrated:
    """An estimate with its calibration curve: ladders at the same number of images beside it.

    Args:
        estimator: such as `mine`.
        x: the images, any number of values each.
        features: what is sent of each.
        rng: stream of everything.
        nats: true values of the ladders.
        dimensions: of the ladders' pairs; their cost is that of as many estimates as rungs.
        sources: laws of the ladders' pairs.

    Raises:
        BadData: as the estimator.
        BadPlan: as `calibration_ladder`.
        UnknownName: as `calibration_ladder`.
    """
    return Calibrated(
        estimator(x, features, rng.child("value")),
        {
            source: calibration_ladder(
                estimator,
                rng.child("ladder"),
                nats=nats,
                dimensions=dimensions,
                images=len(x),
                source=source,
            )
            for source in sources
        },
    )
