"""Clusters of a mixture are its components, wherever the start fell."""

import torch
from torch import Tensor

from splitveil.estimators.clusters import cluster_labels
from splitveil.rng import Rng


def _scatter(z: Tensor, labels: Tensor, clusters: int) -> float:
    parts = [z[labels == c] for c in range(clusters)]
    return sum(float((part - part.mean(0)).square().sum()) for part in parts if len(part))


def test_clusters_of_separate_components_are_those() -> None:
    """Ten components in 16 values, more rows than are fitted; one start fails in most of these."""
    for seed in range(4):
        generator = Rng(seed).torch()
        centres = 2 * torch.randn(10, 16, generator=generator)
        y = torch.randint(0, 10, (6000,), generator=generator)
        z = centres[y] + torch.randn(6000, 16, generator=generator)
        found = cluster_labels(z, 10, Rng(seed, ("clusters",)))
        assert _scatter(z, found, 10) <= 1.02 * _scatter(z, y, 10)
        table = torch.zeros(10, 10).index_put_((y, found), torch.ones(6000), accumulate=True)
        assert float(table.amax(1).sum()) > 0.97 * 6000


def test_clusters_of_one_cloud_are_no_worse_than_its_parts() -> None:
    z = torch.randn(500, 3, generator=Rng(1).torch())
    found = cluster_labels(z, 4, Rng(2))
    assert _scatter(z, found, 4) < 0.7 * _scatter(z, torch.zeros(500, dtype=torch.int64), 1)
