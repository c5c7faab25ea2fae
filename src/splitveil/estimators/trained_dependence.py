"""Dependence of two batches with gradient, for training against it; values as in `dependence`."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor


def differentiable_distances(x: Float[Tensor, "n d"]) -> Float64[Tensor, "n n"]:
    """Euclidean distances between all rows; equal rows have distance 0 and gradient 0."""
    centred = x.double() - x.double().mean(0)
    squares = centred.square().sum(1)
    squared = squares[:, None] + squares - 2 * centred @ centred.T
    # rounding leaves specks where rows are equal, and the root has no slope at 0
    apart = squared > 1e-12 * squares.mean()
    apart = apart & ~torch.eye(len(x), dtype=torch.bool, device=x.device)
    return torch.where(apart, torch.where(apart, squared, 1.0).sqrt(), 0.0)


def trained_kernel(x: Float[Tensor, "n d"]) -> Float64[Tensor, "n n"]:
    """K_ij = exp(-|x_i - x_j|² / (2 s²)) off the diagonal, s the median distance as a constant.

    With s taken along, rescaling x changes nothing.
    """
    apart = differentiable_distances(x)
    other = ~torch.eye(len(x), dtype=torch.bool, device=x.device)
    scale = apart[other].median()
    scale = torch.where(scale > 0, scale, apart.mean().clamp_min(1e-300))
    return torch.where(other, (-apart.square() / (2 * scale**2)).exp(), 0.0)


def trained_correlation(
    a: Float64[Tensor, "n n"], b: Float64[Tensor, "n n"]
) -> Float64[Tensor, ""]:
    """(A . B) / sqrt((A . A)(B . B)) of both matrices U-centred; 0 where either does not vary.

    For distance matrices this is the squared distance correlation without bias at independence
    (Székely and Rizzo 2014), for kernels a normalised HSIC (Song et al. 2012). Needs n >= 4.
    """
    a, b = _u_centred(a), _u_centred(b)
    own = (a * a).sum() * (b * b).sum()
    varied = own > 0
    return torch.where(varied, (a * b).sum() / torch.where(varied, own, 1.0).sqrt(), 0.0)


def _u_centred(matrix: Float64[Tensor, "n n"]) -> Float64[Tensor, "n n"]:
    n = len(matrix)
    rows = matrix.sum(1) / (n - 2)
    whole = matrix.sum() / ((n - 1) * (n - 2))
    other = ~torch.eye(n, dtype=torch.bool, device=matrix.device)
    return torch.where(other, matrix - rows[:, None] - rows + whole, 0.0)
