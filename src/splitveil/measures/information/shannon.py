"""Shannon's lower bound on the error per value, and the prior-free factor in it."""

import math
from dataclasses import replace

from splitveil.errors import BadPlan
from splitveil.measures.information.claims import at_most
from splitveil.measures.information.water_filled import water_filled_bound
from splitveil.quantities import Direction, Quantity


def shannon_bound(entropy: Quantity, information: Quantity, *, dimensions: int) -> Quantity:
    """Least mean squared error of any attacker: N(X) exp(-2 I(X; Z) / d).

        mse per value >= exp(2 h(X | Z) / d) / (2 pi e),  h(X | Z) = h(X) - I(X; Z)

    with N(X) = exp(2 h(X) / d) / (2 pi e). The sum over all d values is d times that. Equal to the
    least error where X is Gaussian given Z with the same variance in every direction; for images it
    is loose, since their fine detail has hardly any entropy: prefer `water_filled_bound`.

    Args:
        entropy: h(X) in nats, total over values, from below or exact. From a fitted density
            (direction upper) the result is a proxy and says so.
        information: I(X; Z) in nats, from above or exact.
        dimensions: number d of values.

    Returns:
        Unit: mse per value. Direction: lower. Kind: the weaker of the two given.

    Example:
        >>> from splitveil.quantities import Direction, Kind, Quantity
        >>> from splitveil.testing.oracles import LinearGaussian
        >>> import torch
        >>> eye = torch.eye(3, dtype=torch.float64)
        >>> problem = LinearGaussian(0 * eye[0], eye, eye, 0 * eye[0], 0.5)
        >>> h = Quantity.exact(problem.prior_entropy, unit="nat", kind=Kind.THEOREM)
        >>> i = Quantity.exact(problem.information, unit="nat", kind=Kind.THEOREM)
        >>> print(shannon_bound(h, i, dimensions=3))
        0.2 mse per value

    Raises:
        BadPlan: if there are no dimensions or the information is a lower bound.
    """
    if dimensions < 1:
        raise BadPlan(f"the bound is per value: give at least 1 dimension, got {dimensions}")
    return water_filled_bound((entropy,), information, sizes=(dimensions,))


def retention(information: Quantity, *, dimensions: int) -> Quantity:
    """The share exp(-2 I(X; Z) / d) of the images' entropy power that is left after sending.

    It needs no prior: 1 means nothing was told, exp(-2) a nat per value. It multiplies N(X), which
    nobody knows for images, so by itself it bounds no error.

    Args:
        information: I(X; Z) in nats, from above or exact.
        dimensions: number d of values.

    Returns:
        Unit: share. Direction: lower. Kind: that of the information.

    Raises:
        BadPlan: as `shannon_bound`.
    """
    if dimensions < 1:
        raise BadPlan(f"the share is per value: give at least 1 dimension, got {dimensions}")
    share = math.exp(-2 * at_most(information) / dimensions)
    high = share if information.low == information.high else 1.0
    return replace(
        information,
        value=share,
        low=share,
        high=high,
        unit="share",
        direction=Direction.LOWER,
    )
