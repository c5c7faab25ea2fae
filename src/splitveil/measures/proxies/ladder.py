"""Estimators of information tried where the answer is known."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from splitveil.errors import BadPlan
from splitveil.quantities import Quantity
from splitveil.rng import Rng

Estimator: TypeAlias = Callable[[Tensor, Tensor, Rng], Quantity]
NATS = (0.5, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Rung:
    """The true information of a problem in nats, and what the estimator made of it."""

    nats: float
    found: Quantity


def gaussian_pairs(nats: float, dimensions: int, n: int, rng: Rng) -> tuple[Tensor, Tensor]:
    """Pairs of standard normals correlated value by value, I = -(d/2) log(1 - rho²) = `nats`."""
    rho = math.sqrt(-math.expm1(-2 * nats / dimensions))
    generator = rng.child("ladder", nats).torch()
    x, noise = torch.randn(2, n, dimensions, generator=generator, dtype=torch.float64)
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def calibration_ladder(
    estimator: Estimator,
    rng: Rng,
    *,
    nats: Sequence[float] = NATS,
    dimensions: int = 8,
    images: int = 4000,
) -> tuple[Rung, ...]:
    """What an estimator says of Gaussian pairs of known information.

    Show it next to any value of that estimator, at the same number of images: where the ladder
    flattens, values mean "at least so much" at best. Gaussian pairs are the easy case.

    Args:
        estimator: such as `mine`, called with (n, d) pairs and a stream.
        rng: stream of pairs and of the estimator.
        nats: true values to try; 0 is independence.
        dimensions: values of each image and of its features.
        images: pairs.

    Returns:
        One rung for each of `nats`, in order.

    Raises:
        BadPlan: if a value is negative or not finite, or there are no dimensions.
    """
    if dimensions < 1 or any(not 0 <= value < math.inf for value in nats):
        raise BadPlan(f"a ladder needs dimensions and finite nats >= 0, got {dimensions}, {nats}")
    return tuple(
        Rung(value, estimator(*gaussian_pairs(value, dimensions, images, rng), rng.child(value)))
        for value in nats
    )
