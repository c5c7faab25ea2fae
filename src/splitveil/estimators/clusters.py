"""Clusters in place of classes, for images without labels."""

import warnings

import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from splitveil.errors import BadData
from splitveil.rng import Rng
from splitveil.shapes import Features, Labels

_FITTED = 4096
_ROUNDS = 50


def cluster_labels(z: Features, clusters: int, rng: Rng) -> Labels:
    """K-means clusters of features, numbered from 0; empty ones are possible.

    Centres come from at most 4,096 rows (k-means++ start, Lloyd's rounds); every row then goes to
    its nearest. Meant for a late, narrow feature. Clusters are no classes: they are what the
    network itself holds together, so a radius within them is small by construction at the layer
    they were found on, and says something at earlier ones only.

    Raises:
        BadData: if there are fewer rows than clusters, or a feature is not finite.
    """
    if clusters < 1 or len(z) < clusters:
        raise BadData(f"{len(z)} images cannot form {clusters} clusters: ask for fewer")
    rows = z.detach().cpu().double()
    if not torch.isfinite(rows).all():
        raise BadData("features hold NaN or infinity: check the model's weights and the images")
    rows = rows - rows.mean(0)
    chosen = torch.randperm(len(rows), generator=rng.child("rows").torch())[:_FITTED]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty cluster stays empty
        fitted, _ = kmeans2(
            rows[chosen].numpy(),
            clusters,
            iter=_ROUNDS,
            minit="++",
            seed=rng.child("start").numpy(),
        )
    centres = torch.from_numpy(fitted)
    return torch.cat([_nearest(part, centres) for part in rows.split(_FITTED)])


def _nearest(rows: Tensor, centres: Tensor) -> Tensor:
    return torch.cdist(rows, centres).argmin(1)
