"""Entropy of a declared Gaussian mixture, between pairwise bounds."""

from jaxtyping import Float64
from torch import Tensor

from splitveil.estimators.mixture_entropy import mixture_entropy
from splitveil.quantities import Direction, Kind, Quantity

_TRUE = "the variable truly is this mixture: fitted to data, it says nothing certain of them"


def mixture_entropy_bounds(
    weights: Float64[Tensor, " k"],
    means: Float64[Tensor, "k2 m"],
    covariances: Float64[Tensor, "k3 m m"],
) -> tuple[Quantity, Quantity]:
    """The entropy of a Gaussian mixture from below and from above.

    The better of the Bhattacharyya and Huber bounds below, of the KL and Huber bounds above
    (`splitveil.estimators.mixture_entropy`). Use the lower one as entropy of a declared source in
    `shannon_bound`: the upper one would overstate what is proved.

    Args:
        weights: p_i > 0, summing to 1.
        means: one row a component.
        covariances: one a component, or a single one that all share.

    Returns:
        Lower and upper quantity. Unit: nat, total. Kind: model, since no data are a mixture.

    Raises:
        BadInput: as `splitveil.estimators.mixture_entropy`.
    """
    found = mixture_entropy(weights, means, covariances)

    def quantity(value: float, direction: Direction) -> Quantity:
        return Quantity.exact(
            value, unit="nat", kind=Kind.MODEL, direction=direction, assumptions=(_TRUE,)
        )

    return quantity(found.low, Direction.LOWER), quantity(found.high, Direction.UPPER)
