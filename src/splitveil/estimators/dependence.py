"""Dependence of two batches without bias at independence: distance correlation and HSIC."""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor


def distances(x: Float[Tensor, "n d"]) -> Float64[Tensor, "n n"]:
    """Euclidean distances between all rows, from centred float64 products; the diagonal is 0."""
    centred = x.double() - x.double().mean(0)
    squares = centred.square().sum(1)
    squared = squares[:, None] + squares - 2 * centred @ centred.T
    return squared.clamp_min_(0).fill_diagonal_(0).sqrt_()


def u_centred(matrix: Float64[Tensor, "n n"]) -> Float64[Tensor, "n n"]:
    """A_ij = a_ij - a_i. / (n-2) - a_.j / (n-2) + a_.. / ((n-1)(n-2)), and 0 on the diagonal.

    For symmetric matrices with a zero diagonal; mean(A B) n / (n - 3) is then an unbiased estimate
    of the squared distance covariance, and of HSIC for kernels (Székely and Rizzo 2014; Song et
    al. 2012). Needs n >= 4.
    """
    n = len(matrix)
    rows = matrix.sum(1) / (n - 2)
    whole = matrix.sum() / ((n - 1) * (n - 2))
    return (matrix - rows[:, None] - rows + whole).fill_diagonal_(0)


def inner(a: Float64[Tensor, "n n"], b: Float64[Tensor, "n n"]) -> float:
    """Inner product of U-centred matrices: sum A_ij B_ij / (n (n - 3))."""
    n = len(a)
    return float((a * b).sum()) / (n * (n - 3))


def correlation(a: Float64[Tensor, "n n"], b: Float64[Tensor, "n n"]) -> float:
    """(A . B) / sqrt((A . A)(B . B)) of U-centred matrices; 0 where either does not vary."""
    own = inner(a, a) * inner(b, b)
    return inner(a, b) / math.sqrt(own) if own > 0 else 0.0


def gaussian_kernel(x: Float[Tensor, "n d"]) -> Float64[Tensor, "n n"]:
    """K_ij = exp(-|x_i - x_j|² / (2 s²)), s the median distance, with the diagonal set to 0.

    The diagonal is left out of U-centring; s is free of the scale of x.
    """
    apart = distances(x)
    scale = apart[~torch.eye(len(x), dtype=torch.bool)].median()
    if not float(scale) > 0:
        scale = apart.mean().clamp_min(torch.finfo(torch.float64).tiny)
    return (-apart.square() / (2 * scale**2)).exp().fill_diagonal_(0)


def grouped_jackknife(
    a: Float64[Tensor, "n n"], b: Float64[Tensor, "n n"], *, groups: int
) -> float:
    """Standard error of `correlation` of raw distance or kernel matrices, groups left out in turn.

    Rows are taken to be in random order. Needs at least 4 rows left.
    """
    n = len(a)
    place = torch.arange(n) % groups
    left: list[float] = []
    for group in range(groups):
        keep = torch.nonzero(place != group)[:, 0]
        some = (matrix[keep][:, keep] for matrix in (a, b))
        left.append(correlation(*(u_centred(matrix) for matrix in some)))
    spread = torch.tensor(left, dtype=torch.float64)
    return math.sqrt((groups - 1) / groups * float((spread - spread.mean()).square().sum()))
