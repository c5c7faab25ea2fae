"""Shannon's bound for images on a grid, which are never continuous."""

import math

from splitveil.errors import BadPlan
from splitveil.measures.information.claims import at_most, conclude
from splitveil.quantities import Direction, Quantity


def dithered_bound(
    entropy: Quantity, information: Quantity, *, dimensions: int, step: float = 1 / 255
) -> Quantity:
    """Least mean squared error for X on a grid of the given step.

        mse >= max(0, step² / (2 pi e) exp(2 H(X | Z) / d) - step² / 12),  H(X | Z) = H(X) - I

    Uniform dither U on a cell makes X + U continuous: h(X + U | Z) = H(X | Z) + d log step, and its
    least error is that of X plus step² / 12. Where Z fixes X the bound is 0, not a fiction of
    continuous noise. For 8-bit images in [0, 1] the step is 1/255.

    Args:
        entropy: H(X) in nats, total over values, from below or exact: a discrete entropy, at
            least 0. From a fitted model (direction upper) the result is a proxy and says so.
        information: I(X; Z) in nats, from above or exact.
        dimensions: number d of values.
        step: distance of neighbouring grid points, in input units.

    Returns:
        Unit: mse per value. Direction: lower. Kind: the weaker of the two given.

    Raises:
        BadPlan: if there are no dimensions, the step is not positive, or the information is a lower
            bound.
    """
    if dimensions < 1 or not 0 < step < math.inf:
        raise BadPlan(f"give at least 1 dimension and a positive step, got {dimensions} and {step}")
    prior = entropy.value if entropy.direction is Direction.UPPER else entropy.low
    left = max(0.0, prior - at_most(information))
    power = math.exp(2 * left / dimensions) / (2 * math.pi * math.e)
    value = max(0.0, step**2 * (power - 1 / 12))
    return conclude(value, sources=(entropy,), information=information)
