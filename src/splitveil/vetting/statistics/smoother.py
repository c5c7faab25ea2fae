"""How well one thing predicts another within classes, every image left out in turn."""

import math

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from splitveil.estimators import ratio_interval
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.vetting.statistics.answers import MOST_DIRECTIONS, centred

_PENALTIES = torch.logspace(-6, 3, 10, dtype=torch.float64)
_NARROWEST = 1e-6


def left_out(
    basis: Float64[Tensor, "n r"],
    powers: Float64[Tensor, " r"],
    targets: Float64[Tensor, "n2 m"],
    labels: Int64[Tensor, " n3"],
) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " n"]]:
    """Squared errors of ridge regression and of the class mean, each image left out exactly.

        e_i = (y_i - ŷ_i) / (1 - 1 / n_c - h_i),  h_i = sum_j u_ij² s_j / (s_j + λ)

    is the error of image i when it is left out of class means and regression alike (Allen 1974),
    for penalised least squares with unpenalised class means. λ is the one of a grid, in units of
    the mean power, with the least sum.

    Args:
        basis: orthonormal columns, each summing to 0 within every class.
        powers: squared singular values, or eigenvalues of a class-centred kernel.
        targets: centred within classes.
        labels: every class holds at least two images.

    Returns:
        Errors summed over targets, of the regression and of the class mean, by image.
    """
    counts = labels.bincount()[labels].double()
    alone = 1 - 1 / counts
    inside = basis.T @ targets
    best: Tensor | None = None
    if len(powers):
        leverage = basis.square()
        for penalty in _PENALTIES * powers.mean():
            kept = powers / (powers + penalty)
            room = (alone - leverage @ kept).clamp_min(1e-6)
            errors = ((targets - basis @ (kept[:, None] * inside)) / room[:, None]).square().sum(1)
            if best is None or float(errors.sum()) < float(best.sum()):
                best = errors
    floor = (targets / alone[:, None]).square().sum(1)
    if best is None or float(best.sum()) > float(floor.sum()):
        best = floor  # an infinite penalty: the class mean itself
    return best, floor


def within(labels: Tensor) -> Tensor:
    """Which images have company in their class."""
    return labels.bincount()[labels] > 1


def whitened(sent: Float64[Tensor, "n f"], labels: Tensor) -> Float64[Tensor, "n r"]:
    """What is sent in its widest within-class directions, at most 64, each of variance 1.

    Directions narrower than a millionth of the widest are rounding and left out. Class means stay
    in. Free of any invertible linear map of what is sent, as long as none is left out.
    """
    inside = centred(sent, labels)
    _, values, directions = torch.linalg.svd(inside, full_matrices=False)
    if not len(values) or not float(values[0]) > 0:
        return sent.new_zeros(len(sent), 0)
    kept = int((values > _NARROWEST * values[0]).sum())
    kept = min(kept, MOST_DIRECTIONS, max(1, len(sent) // 4))
    scale = values[:kept] / math.sqrt(len(sent))
    return (sent - sent.mean(0)) @ directions[:kept].T / scale


def share(errors: Tensor, floor: Tensor, rng: Rng, *, of: str) -> Quantity:
    """1 - sum of errors / sum of the class mean's, with a paired interval over images."""
    ratio = ratio_interval(errors.numpy(), floor.numpy(), rng)
    return Quantity(
        value=1 - ratio.value,
        low=1 - ratio.high,
        high=1 - ratio.low,
        unit="share",
        kind=Kind.MEASURED,
        n=len(errors),
        assumptions=(
            "images are independent draws",
            f"of the variance within classes, {of}",
            "holds for this probe; another may read off more",
        ),
    )
