"""Shannon's bound block by block: an attacker's information goes where it pays most."""

import math
from collections.abc import Sequence

from splitveil.errors import BadPlan
from splitveil.estimators.water_filling import water_filling
from splitveil.measures.information.claims import at_most, conclude
from splitveil.quantities import Direction, Quantity


def water_filled_bound(
    entropies: Sequence[Quantity], information: Quantity, *, sizes: Sequence[int]
) -> Quantity:
    """Least mean squared error when the information is spent on blocks of X as well as can be.

    With X rotated into blocks X_1 .. X_J of k_j values (bands of principal components, say) and
    N_j = exp(2 h(X_j | X_<j) / k_j) / (2 pi e),

        d mse >= min over R_j >= 0, sum R_j <= I of sum k_j N_j exp(-2 R_j / k_j)
               = sum k_j min(N_j, w)

    (reverse water-filling), since sum I(X_j; Z | X_<j) = I and knowing earlier blocks only helps.
    Never below `shannon_bound` of the same X; for Gaussian X in its principal directions it is the
    exact rate-distortion function.

    Args:
        entropies: h(X_j | X_<j) in nats, total over the block, each from below or exact.
        information: I(X; Z) in nats, from above or exact.
        sizes: number k_j of values in each block.

    Returns:
        Unit: mse per value. Direction: lower. Kind: the weakest of those given.

    Raises:
        BadPlan: if counts differ, a size is not positive, or the information is a lower bound.
    """
    if len(entropies) != len(sizes) or not len(sizes) or min(sizes) < 1:
        raise BadPlan(
            f"{len(entropies)} entropies, sizes {tuple(sizes)}: give one of each a block, sizes of "
            "at least 1"
        )
    powers = [_power(h, k) for h, k in zip(entropies, sizes, strict=True)]
    filled = water_filling(powers, [float(k) for k in sizes], at_most(information))
    total = sum(k * e for k, e in zip(sizes, filled.errors, strict=True))
    return conclude(total / sum(sizes), sources=entropies, information=information)


def _power(entropy: Quantity, size: int) -> float:
    """Entropy power per value of one block, from the end of its entropy that proves least."""
    nats = entropy.value if entropy.direction is Direction.UPPER else entropy.low
    return math.exp(2 * nats / size) / (2 * math.pi * math.e)
