"""Shannon's bound for an attacker who is told the label: it holds for everybody."""

import math
from collections.abc import Sequence

from splitveil.errors import BadPlan
from splitveil.estimators.water_filling import water_filling
from splitveil.measures.information.claims import at_most, conclude
from splitveil.quantities import Direction, Quantity


def label_side_bound(
    entropies: Sequence[Quantity],
    information: Quantity,
    *,
    shares: Sequence[float],
    dimensions: int,
) -> Quantity:
    """Least mean squared error of any attacker, from what is unknown within classes.

        mse >= min over I_c >= 0, sum p_c I_c <= I(X; Z | Y) of sum p_c N_c exp(-2 I_c / d)

    with N_c = exp(2 h(X | Y = c) / d) / (2 pi e), solved by water-filling over classes. It is at
    least exp(2 (h(X | Y) - I(X; Z | Y)) / d) / (2 pi e), with equality where every class is told
    something. Usually far above `shannon_bound` for images that fall into clusters: telling
    classes apart costs information and gains little.

    Args:
        entropies: h(X | Y = c) in nats, total, one a class, each from below or exact.
        information: I(X; Z | Y) in nats, from above or exact (`redundancy_bound`).
        shares: probability p_c of each class, summing to 1.
        dimensions: number d of values.

    Returns:
        Unit: mse per value. Direction: lower. Kind: the weakest of those given.

    Raises:
        BadPlan: if counts differ, shares are no distribution, there are no dimensions, or the
            information is a lower bound.
    """
    if len(entropies) != len(shares) or not len(shares) or dimensions < 1:
        raise BadPlan(
            f"{len(entropies)} entropies, {len(shares)} shares, {dimensions} dimensions: give an "
            "entropy and a share a class, and at least 1 dimension"
        )
    if min(shares) <= 0 or not math.isclose(sum(shares), 1, abs_tol=1e-9):
        raise BadPlan("shares of classes must be positive and sum to 1")
    powers = [
        math.exp(2 * (h.value if h.direction is Direction.UPPER else h.low) / dimensions)
        / (2 * math.pi * math.e)
        for h in entropies
    ]
    filled = water_filling(powers, [p * dimensions for p in shares], at_most(information))
    value = sum(p * e for p, e in zip(shares, filled.errors, strict=True))
    return conclude(value, sources=entropies, information=information)
