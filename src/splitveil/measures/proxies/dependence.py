"""What distance correlation and HSIC share once their matrices are there."""

from jaxtyping import Float64
from torch import Tensor

from splitveil.estimators.dependence import correlation, grouped_jackknife, u_centred
from splitveil.quantities import Kind, Quantity

LEAST = 40
_GROUPS = 10
_REACH = 1.959963984540054


def dependence(a: Float64[Tensor, "n n"], b: Float64[Tensor, "n n"], how: str) -> Quantity:
    """Correlation of the U-centred matrices with its jackknife interval, as a proxy."""
    value = correlation(u_centred(a), u_centred(b))
    reach = _REACH * grouped_jackknife(a, b, groups=_GROUPS)
    return Quantity(
        value=value,
        low=value - reach,
        high=value + reach,
        unit="share",
        kind=Kind.PROXY,
        n=len(a),
        assumptions=(
            "dependence, not information: it ranks and proves nothing about attackers",
            how,
            f"jackknife over {_GROUPS} groups",
        ),
    )
