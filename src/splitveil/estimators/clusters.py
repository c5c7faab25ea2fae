"""Clusters in place of classes, for images without labels."""

import warnings
from typing import Any

import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from splitveil.errors import BadData
from splitveil.rng import Rng
from splitveil.shapes import Features, Labels

_FITTED = 4096
_ROUNDS = 50
_STARTS, _TRIED = 40, 5


def cluster_labels(z: Features, clusters: int, rng: Rng) -> Labels:
    """K-means clusters of features, numbered from 0; empty ones are possible.

    Centres come from at most 4,096 rows: the best of forty k-means++ starts with a few of Lloyd's
    rounds, as one start often joins two clusters, then carried on. Every row then goes to its
    nearest. Meant for a late, narrow feature. Clusters are no classes: they are what the network
    itself holds together, so a radius within them is small by construction at the layer they were
    found on, and says something at earlier ones only.

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
    some = rows[chosen]
    starts = [
        _rounds(some, clusters, _TRIED, minit="++", seed=rng.child("start", start).numpy())
        for start in range(_STARTS)
    ]
    best = min(starts, key=lambda c: float(torch.cdist(some, c).amin(1).square().sum()))
    centres = _rounds(some, best.numpy(), _ROUNDS, minit="matrix")
    return torch.cat([_nearest(part, centres) for part in rows.split(_FITTED)])


def _rounds(rows: Tensor, start: Any, rounds: int, **how: Any) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty cluster stays empty
        found, _ = kmeans2(rows.numpy(), start, iter=rounds, **how)
    return torch.from_numpy(found)


def _nearest(rows: Tensor, centres: Tensor) -> Tensor:
    return torch.cdist(rows, centres).argmin(1)
