"""What features tell through the noise, by clusters fitted at once and by clusters that follow."""

import torch
from torch import Tensor

from splitveil.data import LabelledImages
from splitveil.estimators.centroids import ClassClusters, fit_clusters
from splitveil.estimators.rates import MovingClusters, class_rate, follow, held_out_rate
from splitveil.partition import Partition
from splitveil.release import ClippedGaussian
from splitveil.rng import Rng

CLUSTERS, MEMORY, BATCH, PASSES = 5, 200.0, 128, 5
_CALIBRATED, _AT_ONCE = 1000, 500


@torch.no_grad()
def rates(
    partition: Partition, train: LabelledImages, held: LabelledImages, *, classes: int
) -> dict[str, float]:
    """Nats per value given the label, on images that no mixture has seen.

    "rate" by k-means over all training features, "rate upper" its upper end at 95 %, and "rate
    followed" by clusters that began on 1,000 of them and followed batches for five passes.
    """
    release = _gaussian(partition)
    z, other = (release.clip(_features(partition, part)) for part in (train, held))
    assert train.y is not None and held.y is not None  # noqa: PT018, S101 - labelled images
    fitted = _fit(z, train.y, classes)
    upper = held_out_rate(
        other,
        fitted,
        sigma=release.sigma,
        radius=release.radius,
        centre=release.centre,
        y=held.y,
    )
    followed = _followed(z, train.y, classes, release.sigma)
    found = {
        name: float(class_rate(other, held.y, clusters, sigma=release.sigma).mean())
        for name, clusters in (("rate", fitted), ("rate followed", followed))
    }
    return {**found, "rate upper": upper.value}


def _gaussian(partition: Partition) -> ClippedGaussian:
    """The noise; what follows it, such as dropout, only loses information."""
    stages = getattr(partition.release, "stages", (partition.release,))
    if not isinstance(stages[0], ClippedGaussian):
        raise TypeError(f"the first release must be clipped Gaussian noise, got {stages[0]}")
    return stages[0]


def _features(partition: Partition, images: LabelledImages) -> Tensor:
    return torch.cat([partition.features(x) for x in images.x.split(_AT_ONCE)])


def _fit(z: Tensor, y: Tensor, classes: int) -> ClassClusters:
    generator = Rng(0, ("cem", "clusters")).torch()
    return fit_clusters(z, y, classes=classes, clusters=CLUSTERS, generator=generator)


def _followed(z: Tensor, y: Tensor, classes: int, sigma: float) -> ClassClusters:
    first = slice(0, _CALIBRATED)
    scale = torch.tensor(sigma)
    state = MovingClusters.of(_fit(z[first], y[first], classes), min(len(z), _CALIBRATED) / classes)
    generator = Rng(0, ("cem", "order")).torch()
    for _ in range(PASSES):
        for rows in torch.randperm(len(z), generator=generator).split(BATCH):
            state = follow(state, z[rows], y[rows], sigma=scale, memory=MEMORY)
    return state.clusters
