"""What features tell through noise if they fall into cells of known covariance."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from splitveil.errors import BadPlan


@dataclass(frozen=True, kw_only=True)
class CellRates:
    """Upper ends of I(X; Z), nat per value of the features: each at most the next."""

    exact: float
    diagonal: float
    isotropic: float


def cell_rates(
    shares: Float64[Tensor, " c"], covariances: Float64[Tensor, "c f f"], *, sigma: float
) -> CellRates:
    """Information through N(0, s² I) of features that lie in cell c with chance p_c.

        f · exact     = H(p) + sum_c p_c 1/2 log det(I + S_c / s²)
        f · diagonal  = H(p) + sum_c p_c 1/2 sum_j log(1 + S_cjj / s²)     (Hadamard)
        f · isotropic = H(p) + sum_c p_c f/2 log(1 + tr S_c / (f s²))      (Jensen)

    Cells are any function of the features, S_c the covariance of clean features within one; no
    cell need be Gaussian, and `exact` holds with equality for one Gaussian cell. It is a theorem
    about the true covariances alone: log-determinants of sample ones are too low, by far where a
    cell has fewer rows than features. Use `held_out_rate` on data.

    Raises:
        BadPlan: if sigma is not positive or the shares are no distribution.

    References:
        Conditional entropy maximisation, arXiv 2503.00383.
    """
    if not sigma > 0:
        raise BadPlan(f"without noise the rate is infinite: sigma must be positive, got {sigma}")
    if bool((shares < 0).any()) or abs(float(shares.sum()) - 1) > 1e-9:
        raise BadPlan(f"shares of cells must sum to 1, they sum to {float(shares.sum()):.6g}")
    f = covariances.shape[-1]
    choice = torch.special.entr(shares).sum()
    own = covariances.diagonal(dim1=1, dim2=2)
    eye = torch.eye(f, dtype=torch.float64, device=covariances.device)
    each = (
        torch.linalg.slogdet(eye + covariances / sigma**2).logabsdet,
        (own / sigma**2).log1p().sum(1),
        f * (own.mean(1) / sigma**2).log1p(),
    )
    exact, diagonal, isotropic = (float(choice + 0.5 * shares @ e) / f for e in each)
    return CellRates(exact=exact, diagonal=diagonal, isotropic=isotropic)


def retained_ratio(rate: float, base: float, *, values: int, dimensions: int) -> float:
    """How much the least error of Shannon's form grows where a rate falls from `base` to `rate`.

        exp((2 / d) f (base - rate))

    for f feature values and d image values. The images' own entropy cancels, so it can be stated
    where that is unknown; it compares two lower ends of the error, not two errors.
    """
    return float(torch.tensor(2 * values * (base - rate) / dimensions, dtype=torch.float64).exp())
