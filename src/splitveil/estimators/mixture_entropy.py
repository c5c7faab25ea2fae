"""Entropy of a Gaussian mixture between pairwise bounds."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from splitveil.errors import BadInput


@dataclass(frozen=True)
class MixtureEntropy:
    """Bounds on the differential entropy of one mixture, nats, total over its dimensions.

    `bhattacharyya_lower` and `huber_lower` lie below it, `kl_upper` and `huber_upper` above.
    """

    bhattacharyya_lower: float
    huber_lower: float
    kl_upper: float
    huber_upper: float

    @property
    def low(self) -> float:
        """The better lower bound."""
        return max(self.bhattacharyya_lower, self.huber_lower)

    @property
    def high(self) -> float:
        """The better upper bound."""
        return min(self.kl_upper, self.huber_upper)


def mixture_entropy(
    weights: Float64[Tensor, " k"],
    means: Float64[Tensor, "k2 m"],
    covariances: Float64[Tensor, "k3 m m"],
) -> MixtureEntropy:
    """Bound h(Z) of Z ~ sum p_i N(mu_i, C_i) from pairs of components.

        sum p_i h_i - sum p_i log sum_j p_j exp(-D(i, j))

    is an upper bound for D = KL(i || j) and a lower one for the Bhattacharyya distance; Huber's
    are -sum p_i log sum_j p_j N(mu_i; mu_j, C_i + C_j) below and sum p_i (h_i - log p_i) above.
    They hold for this mixture, not for data to which it was fitted.

    Args:
        weights: p_i > 0, summing to 1.
        means: one row a component.
        covariances: one a component, or a single one that all share, at a cost of k² m.

    References:
        Kolchinsky and Tracey 2017, arXiv 1706.02419; Huber et al. 2008.

    Raises:
        BadInput: if shapes do not fit, weights are no distribution, or a covariance is not positive
            definite.
    """
    _check(weights, means, covariances)
    m = means.shape[1]
    log_p = weights.log()
    if len(covariances) == 1:
        factor = torch.linalg.cholesky(covariances[0])
        white = torch.linalg.solve_triangular(factor, means.T, upper=False).T
        squared = torch.cdist(white, white, compute_mode="donot_use_mm_for_euclid_dist").square()
        log_det = 2 * factor.diagonal().log().sum().expand(len(means))
        average = log_det[:, None].expand(-1, len(means))
        divergence = squared / 2
    else:
        log_det, divergence = _divergences(means, covariances)
        average, squared = _averaged(means, covariances)
    own = float((weights * 0.5 * (log_det + m * math.log(2 * math.pi * math.e))).sum())
    overlap = squared / 8 + (average - (log_det[:, None] + log_det) / 2) / 2
    density = -0.5 * (m * math.log(4 * math.pi) + average + squared / 2)

    def mean_log(scores: Tensor) -> float:
        return float((weights * (scores + log_p).logsumexp(1)).sum())

    return MixtureEntropy(
        bhattacharyya_lower=own - mean_log(-overlap),
        huber_lower=-mean_log(density),
        kl_upper=own - mean_log(-divergence),
        huber_upper=own - float((weights * log_p).sum()),
    )


def _divergences(means: Tensor, covariances: Tensor) -> tuple[Tensor, Tensor]:
    """Log determinants, and KL(i || j) for every pair, one column of covariances at a time."""
    factors = torch.linalg.cholesky(covariances)
    log_det = 2 * factors.diagonal(dim1=1, dim2=2).log().sum(1)
    columns = []
    for j, factor in enumerate(factors):
        white = torch.linalg.solve_triangular(factor, factors, upper=False)
        offset = torch.linalg.solve_triangular(factor, (means - means[j]).T, upper=False)
        trace = white.square().sum((1, 2)) + offset.square().sum(0) - means.shape[1]
        columns.append((trace + log_det[j] - log_det) / 2)
    return log_det, torch.stack(columns, 1)


def _averaged(means: Tensor, covariances: Tensor) -> tuple[Tensor, Tensor]:
    """Log determinant of (C_i + C_j) / 2 and the squared distance under it, for every pair."""
    log_det, squared = [], []
    for mean, covariance in zip(means, covariances, strict=True):
        factors = torch.linalg.cholesky((covariance + covariances) / 2)
        log_det.append(2 * factors.diagonal(dim1=1, dim2=2).log().sum(1))
        offset = torch.linalg.solve_triangular(factors, (mean - means)[..., None], upper=False)
        squared.append(offset.square().sum((1, 2)))
    return torch.stack(log_det), torch.stack(squared)


def _check(weights: Tensor, means: Tensor, covariances: Tensor) -> None:
    if len(means) != len(weights) or len(covariances) not in (1, len(weights)):
        raise BadInput(
            f"{len(weights)} weights, {len(means)} means, {len(covariances)} covariances: give one "
            "of each a component, or a single covariance for all"
        )
    if not bool((weights > 0).all()) or abs(float(weights.sum()) - 1) > 1e-9:
        raise BadInput("weights of a mixture are positive and sum to 1")
    if bool(torch.linalg.cholesky_ex(covariances).info.any()):
        raise BadInput("every covariance of a mixture must be positive definite")
