"""What features tell through Gaussian noise, from above, by any mixture at all."""

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from splitveil.estimators.centroids import ClassClusters, own_offsets
from splitveil.shapes import Features, Labels, PerImage

Deviation: TypeAlias = float | Float[Tensor, ""]


def class_rate(z: Features, y: Labels, clusters: ClassClusters, *, sigma: Deviation) -> PerImage:
    """An information given the class, from above, row by row and per value of the features.

    For any density q, I(X; Z | Y) <= E[log p(Z | X) - log q(Z | Y)], with Z = z + s E. With q the
    mixture of the class, its components widened by s², and the noise averaged in the exponent
    (Jensen: never smaller),

        rate_i = -(1 / f) log sum_k p_k exp(-1/2 sum_j [log(1 + v_kj / s²)
                                                        + ((z_ij - mu_kj)² - v_kj) / (v_kj + s²)])

    whose mean over independent rows is at least I(X; Z | Y) / f, however poor the mixture, if the
    mixture was fitted on other rows. On the rows it was fitted on, as in training, it is an
    estimate. I(X; Z) is larger by I(Y; Z), at most the log of the number of classes.

    Args:
        z: clean features, before noise.
        y: their classes.
        clusters: any mixture, with components of one variance or one per value.
        sigma: deviation s of the noise.

    Returns:
        Unit: nat per value of the features. Infinite for a class without components. Gradients run
        to `z`, and to `sigma` where it is a tensor. No value is read back by the host.

    References:
        Barber and Agakov 2003; conditional entropy maximisation, arXiv 2503.00383.
    """
    return -component_scores(z, y, clusters, sigma=sigma).logsumexp(1) / z.shape[1]


def component_scores(
    z: Features, y: Labels, clusters: ClassClusters, *, sigma: Deviation
) -> Float[Tensor, "n m"]:
    """Log p_k q_k(z_i) / p(z | z) of the components of the row's class, noise averaged, nats."""
    values = z.shape[1]
    away = own_offsets(z, y, clusters.centroids.detach())
    spread, constant = _constants(clusters, sigma, values)
    if clusters.variances.shape[2] == 1:
        squared = torch.linalg.vecdot(away, away)
        return constant.index_select(0, y) - 0.5 * squared / spread[:, :, 0].index_select(0, y)
    narrow = spread.rsqrt().index_select(0, y)
    scaled = away * narrow
    return constant.index_select(0, y) - 0.5 * torch.linalg.vecdot(scaled, scaled)


def all_scores(z: Features, clusters: ClassClusters, *, sigma: Deviation) -> Float[Tensor, "n k m"]:
    """`component_scores` of every class, log shares within classes."""
    values = z.shape[1]
    spread, constant = _constants(clusters, sigma, values)
    middle = clusters.centroids.mean((0, 1))
    rows, means = z - middle, (clusters.centroids - middle).flatten(0, 1)
    narrow = (1 / spread).expand_as(clusters.centroids).flatten(0, 1)
    squared = (
        rows.square() @ narrow.T - 2 * rows @ (means * narrow).T + (means.square() * narrow).sum(1)
    )
    return constant - 0.5 * squared.clamp_min(0).unflatten(1, constant.shape)


def _constants(clusters: ClassClusters, sigma: Deviation, values: int) -> tuple[Tensor, Tensor]:
    """Widened variances (k, m, s), and what of the score does not depend on the row (k, m)."""
    v = clusters.variances.detach()
    spread = v + sigma**2
    each = values // v.shape[2]
    constant = (v / sigma**2).log1p() - v / spread
    return spread, clusters.shares.detach().log() - 0.5 * each * constant.sum(2)
