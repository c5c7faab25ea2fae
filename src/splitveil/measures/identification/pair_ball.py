"""How often a blind guess lands near an image, without a density of images."""

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from scipy import stats
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.measures.checks import finite
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.rng import Rng
from splitveil.shapes import Targets

Distance: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def root_mean_square(a: Tensor, b: Tensor) -> Tensor:
    """Root mean squared difference per value, for each pair of rows."""
    return (a - b).flatten(1).square().mean(1, dtype=torch.float64).sqrt()


def pair_ball(
    x: Targets,
    rng: Rng,
    *,
    radius: float,
    distance: Distance = root_mean_square,
    level: float = 0.95,
) -> Quantity:
    """kappa(r) = sup over guesses g of P(distance(X, g) <= r), at confidence `level`.

    Two independent images in one ball of radius r are at most 2 r apart, so

        kappa(r)² <= P(distance(X, X') <= 2 r),

    and that chance is bounded by Clopper-Pearson on disjoint pairs. Valid for any law of images and
    any distance with a triangle inequality, such as one between embeddings; lossy, since it is a
    square root, and never below the root of about 3 / pairs.

    Args:
        x: targets drawn like the private ones; each is used in one pair.
        rng: stream of the pairing.
        radius: r, in the distance's unit.
        distance: of each row of one batch to the same row of another, (n) values.
        level: confidence of the one-sided bound.

    Returns:
        Unit: probability. Kind: theorem at confidence, upper.

    Raises:
        BadData: if there are fewer than two targets or values are not finite.
        BadPlan: if the radius is negative or the level not in (0, 1).
    """
    if not 0 <= radius < math.inf or not 0 < level < 1:
        raise BadPlan(f"radius must be at least 0 and level in (0, 1), got {radius} and {level}")
    if len(x) < 2:
        raise BadData(f"pairs need at least two images, got {len(x)}")
    finite(x, "images")
    pairs = len(x) // 2
    order = torch.randperm(len(x), generator=rng.child("pairs").torch())
    apart = distance(x[order[:pairs]], x[order[pairs : 2 * pairs]])
    near = int((apart <= 2 * radius).sum())
    chance = 1.0 if near == pairs else float(stats.beta.ppf(level, near + 1, pairs - near))
    value = math.sqrt(chance)
    return Quantity(
        value=value,
        low=0.0,
        high=value,
        unit="probability",
        kind=Kind.CONFIDENCE,
        n=2 * pairs,
        direction=Direction.UPPER,
        level=level,
        assumptions=(
            "private images are drawn like these, independently",
            f"{near} of {pairs} disjoint pairs within {2 * radius:g}",
        ),
    )
