"""Class mixtures that follow features as training moves them, from its own batches alone."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from splitveil.estimators.centroids import ClassClusters, own_offsets
from splitveil.estimators.rates.soft import Deviation, component_scores
from splitveil.shapes import Features, Labels

_DEAD = 0.02


@dataclass(frozen=True, eq=False, kw_only=True)
class MovingClusters:
    """Clusters and the mass (k, m) of rows behind each, forgotten as further ones come."""

    clusters: ClassClusters
    mass: Float[Tensor, "k m"]

    @staticmethod
    def of(clusters: ClassClusters, rows: float) -> "MovingClusters":
        """Begin with `clusters` as if `rows` rows of each class had given them."""
        return MovingClusters(clusters=clusters, mass=rows * clusters.shares)


@torch.no_grad()
def follow(
    state: MovingClusters, z: Features, y: Labels, *, sigma: Deviation, memory: float
) -> MovingClusters:
    """The state after a batch: exponential averages of counts, means and squares.

    With r_ik the chance of component k for row i under `class_rate`'s mixture, and r = 1 - 1 /
    memory to the power of the class's rows in the batch, so that rare classes forget no faster,

        N' = r N + sum_i r_ik,  mu' = sum of rows / N',  v' = sum of squares / N' - mu'²

    both sums fading as N does; they are taken about mu, so that nothing cancels. A component that
    has lost nearly all mass restarts at the row of its class that lies farthest from every
    centroid, at most one a class and batch. No value is read back by the host.

    Args:
        state: before the batch.
        z: clean features of the batch.
        y: their classes; those without rows stay as they are.
        sigma: deviation of the noise.
        memory: rows of a class after which the weight of a row has fallen by e.
    """
    clusters = state.clusters
    z = z.to(clusters.centroids.dtype)
    k, m, f = clusters.centroids.shape
    away = own_offsets(z, y, clusters.centroids)
    share = component_scores(z, y, clusters, sigma=sigma).softmax(1)
    ones = z.new_ones(len(z), 1)
    counts = z.new_zeros(k, 1).index_add_(0, y, ones)
    kept = (1 - 1 / memory) ** counts * state.mass
    mass = kept.index_add(0, y, share)
    over = mass.clamp_min(torch.finfo(z.dtype).tiny)[:, :, None]
    weighted = share[:, :, None] * away
    step = z.new_zeros(k, m, f).index_add_(0, y, weighted) / over
    squares = weighted * away
    s = clusters.variances.shape[2]
    squares = squares if s > 1 else squares.mean(2, keepdim=True)
    moved = step.square() if s > 1 else step.square().mean(2, keepdim=True)
    spread = (kept[:, :, None] * clusters.variances).index_add(0, y, squares) / over - moved
    return _revived(clusters.centroids + step, spread.clamp_min(0), mass, away, z, y)


def _revived(
    centroids: Tensor, spread: Tensor, mass: Tensor, away: Tensor, z: Tensor, y: Tensor
) -> MovingClusters:
    """With the lightest component of a class restarted where it is all but empty."""
    k, m, _ = centroids.shape
    near = torch.linalg.vector_norm(away, dim=2).amin(1)
    mine = y[:, None] == torch.arange(k, device=y.device)
    far = torch.where(mine, near[:, None], -1.0).argmax(0)
    mean = mass.mean(1, keepdim=True)
    lightest = mass.argmin(1, keepdim=True) == torch.arange(m, device=y.device)
    dead = lightest & (mass < _DEAD * mean) & mine.any(0)[:, None]
    mass = torch.where(dead, mean, mass)
    shares = mass / mass.sum(1, keepdim=True).clamp_min(torch.finfo(mass.dtype).tiny)
    typical = (shares[:, :, None] * spread).sum(1, keepdim=True)
    return MovingClusters(
        clusters=ClassClusters(
            centroids=torch.where(dead[:, :, None], z.index_select(0, far)[:, None], centroids),
            variances=torch.where(dead[:, :, None], typical, spread),
            shares=shares,
        ),
        mass=mass,
    )
