"""The published regulariser of conditional entropy maximisation, without loops."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from splitveil.estimators.centroids import ClassClusters, nearest_component
from splitveil.estimators.rates.soft import Deviation
from splitveil.shapes import Features, Labels

_MOST_FRESH = 0.99
_FRESHNESS = 10.0
_FULL_RATE, _NUMERATOR = 4.1e-4, 1e-3


def published_cem(
    z: Features,
    y: Labels,
    clusters: ClassClusters,
    *,
    sigma: Deviation,
    class_size: float | Float[Tensor, " k"],
    floor: float = 0.125,
    offset: float = 0.01,
) -> Float[Tensor, ""]:
    """Weighted log of what rows scatter about their nearest centroid, hinged at a floor.

    With n_ck rows of the batch nearest to centroid k of their class c, b_ck their mean squared
    deviation from it per value, v_ck and p_ck the fitted variance and share:

        a_ck = 10 n_ck / (p_ck N_c), or 0.99 where that is 1 or more
        t_ck = a_ck b_ck + (1 - a_ck) v_ck
        loss = mean over classes c in the batch of
               sum over hit k of p_ck max(0, log(t_ck + g) - log(floor s² + g))

    Only b_ck depends on the network. It is the form of the published code, kept for comparison:
    with g = 0.01 far above floor s² the noise hardly enters, so it bounds no information, and what
    a weight of it means changes with batch and class sizes. Prefer `class_rate`.

    Args:
        z: clean features, before noise.
        y: their classes.
        clusters: fitted to features of all training images, one variance a component.
        sigma: deviation s of the noise.
        class_size: images N_c a class has in an epoch.
        floor: the share of s² below which a component is left alone (tau).
        offset: g.

    Returns:
        Unit: none. Kind: proxy. No value is read back by the host.

    References:
        Conditional entropy maximisation, arXiv 2503.00383, and its published code.
    """
    z = z.to(clusters.centroids.dtype)
    n_c = class_size.to(z)[:, None] if isinstance(class_size, Tensor) else class_size
    s = sigma.detach() if isinstance(sigma, Tensor) else z.new_tensor(sigma)
    least = (floor * s.square() + offset).log()
    found: Tensor = _Published.apply(  # type: ignore[no-untyped-call]
        z, y, clusters, n_c, least, offset
    )
    return found


class _Published(torch.autograd.Function):
    """The loss with its gradient in closed form, for autograd would spend as long on small steps.

    d loss / d z_i = 2 a_ck p_ck (z_i - mu_ck) / (C f n_ck (t_ck + g)) where the hinge is open, with
    C the classes in the batch.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        z: Tensor,
        y: Tensor,
        clusters: ClassClusters,
        class_size: Tensor | float,
        least: Tensor,
        offset: float,
    ) -> Tensor:
        k, m, f = clusters.centroids.shape
        cell = y * m + nearest_component(z, y, clusters.centroids)
        away = z - clusters.centroids.flatten(0, 1).index_select(0, cell)
        squared = torch.linalg.vecdot(away, away)
        totals = z.new_zeros(k * m, 2).index_add_(
            0, cell, torch.stack([squared, z.new_ones(len(z))], 1)
        )
        n = totals[:, 1]
        some = n.clamp_min(1)
        shares = clusters.shares.flatten()
        fresh = _FRESHNESS * n / (clusters.shares * class_size).flatten()
        # no images expected, or fewer than there are: also where 0 / 0
        fresh = torch.where(fresh < 1, fresh, _MOST_FRESH)
        spread = totals[:, 0] / (f * some)
        mixed = torch.lerp(clusters.variances.mean(2).flatten(), spread, fresh) + offset
        weight = shares * (n > 0) / n.view(k, m).any(1).sum()
        above = mixed.log() - least
        pull = (2 / f) * fresh * weight * (above > 0) / (some * mixed)
        ctx.save_for_backward(away, pull.index_select(0, cell))
        return torch.dot(weight, above.relu())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        away, pull = ctx.saved_tensors
        return away * (pull * gradient)[:, None], None, None, None, None, None


def published_share(learning_rate: float) -> float:
    """The factor w on the regulariser: 1 below a learning rate of 4.1e-4, else 1e-3 / rate.

    The published step adds w times its gradient to the encoder's, in a second backward pass. As
    the rest of the network does not see the regulariser, one backward pass of the loss plus w times
    the regulariser gives the same.
    """
    return 1.0 if learning_rate < _FULL_RATE else _NUMERATOR / learning_rate
