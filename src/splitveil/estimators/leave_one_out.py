"""Mutual information between two averages over a batch, without any fitted critic."""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from splitveil.errors import BadData


def leave_one_out(
    scores: Float64[Tensor, "k k2"],
) -> tuple[Float64[Tensor, " k"], Float64[Tensor, " k"]]:
    """Per-image terms whose means lie below and above I(X; Z) in expectation.

    With `scores`[i, j] = log p(z_i | x_j) of k independent images:

        lower_i = log p(z_i | x_i) - log (1 / k) sum_j p(z_i | x_j)            at most log k
        upper_i = log p(z_i | x_i) - log (1 / (k - 1)) sum_(j != i) p(z_i | x_j)

    Unit: nats. An upper term is infinite where no other image could have sent z_i.

    References:
        Poole et al. 2019, On variational bounds of mutual information.

    Raises:
        BadData: if scores are not square, of fewer than two images, or z_i could not come from x_i.
    """
    k = len(scores)
    if k < 2 or scores.shape[1] != k:
        raise BadData(f"scores of at least 2 images by the same images, got {tuple(scores.shape)}")
    own = scores.diagonal()
    if not bool(torch.isfinite(own).all()):
        raise BadData("an image has no density at what it sent itself")
    lower = own - scores.logsumexp(1) + math.log(k)
    others = scores.masked_fill(torch.eye(k, dtype=torch.bool), -math.inf)
    upper = own - others.logsumexp(1) + math.log(k - 1)
    return lower, upper
