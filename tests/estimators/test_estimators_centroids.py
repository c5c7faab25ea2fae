import pytest
import torch
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.estimators.centroids import (
    ClassClusters,
    fit_clusters,
    nearest_component,
    padded,
)
from splitveil.rng import Rng

CLASSES, CLUSTERS, VALUES = 4, 3, 6


def blobs(seed: int, rows: int = 240) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows about well separated centres, unequally many each."""
    generator = Rng(seed).torch()
    centres = 20 * torch.randn(CLASSES, CLUSTERS, VALUES, generator=generator, dtype=torch.float64)
    y = torch.randint(CLASSES, (rows,), generator=generator)
    which = torch.tensor([0.6, 0.3, 0.1]).multinomial(rows, replacement=True, generator=generator)
    z = centres[y, which] + torch.randn(rows, VALUES, generator=generator, dtype=torch.float64)
    return z, y, which, centres


def within(z: Tensor, y: Tensor, found: ClassClusters) -> float:
    away = z - found.centroids[y, nearest_component(z, y, found.centroids)]
    return float(away.square().sum())


@pytest.mark.parametrize("seed", range(3))
def test_separate_blobs_are_found_with_their_shares_and_variances(seed: int) -> None:
    z, y, which, centres = blobs(seed)
    tries = [
        fit_clusters(z, y, classes=CLASSES, clusters=CLUSTERS, generator=Rng(t).torch())
        for t in range(8)
    ]
    found = min(tries, key=lambda one: within(z, y, one))
    for c in range(CLASSES):
        for k in range(CLUSTERS):
            rows = z[(y == c) & (which == k)]
            near = int((found.centroids[c] - centres[c, k]).norm(dim=1).argmin())
            torch.testing.assert_close(found.centroids[c, near], rows.mean(0))
            spread = (rows - rows.mean(0)).square().mean()
            torch.testing.assert_close(found.variances[c, near, 0], spread)
            share = len(rows) / int((y == c).sum())
            assert float(found.shares[c, near]) == pytest.approx(share)


def test_classes_are_fitted_as_if_each_were_alone() -> None:
    """Lloyd's rounds of one class, written out."""
    z, y, _, _ = blobs(5)
    start = torch.stack([z[y == c][:CLUSTERS] for c in range(CLASSES)])
    found = fit_clusters(
        z,
        y,
        classes=CLASSES,
        clusters=CLUSTERS,
        generator=Rng(0).torch(),
        start=start,
        diagonal=True,
    )
    for c in range(CLASSES):
        rows, centroids = z[y == c], start[c].clone()
        for _ in range(50):
            near = torch.cdist(rows, centroids).argmin(1)
            for k in range(CLUSTERS):
                if bool((near == k).any()):
                    centroids[k] = rows[near == k].mean(0)
        torch.testing.assert_close(found.centroids[c], centroids)
        for k in range(CLUSTERS):
            spread = (rows[near == k] - centroids[k]).square().mean(0)
            torch.testing.assert_close(found.variances[c, k], spread)


def test_an_empty_component_stays_with_no_share() -> None:
    z = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    start = torch.tensor([[[1.0], [100.0]]])
    found = fit_clusters(
        z, torch.zeros(4).long(), classes=2, clusters=2, generator=Rng(0).torch(),
        start=torch.cat([start, start]),
    )  # fmt: skip
    assert found.centroids[0].flatten().tolist() == [1.5, 100.0]
    assert found.shares.tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert found.variances[:, :, 0].tolist() == [[1.25, 0.0], [0.0, 0.0]]


def test_equal_rows_are_no_trouble() -> None:
    found = fit_clusters(
        torch.ones(6, 2), torch.zeros(6).long(), classes=1, clusters=3, generator=Rng(0).torch()
    )
    assert found.variances.abs().max() == 0
    assert float(found.shares.sum()) == 1


def test_seeds_follow_the_distance() -> None:
    """Of three points the second seed is 1 or 3 away from the first in proportion to its power."""
    z, y = torch.tensor([[0.0], [1.0], [4.0]]), torch.zeros(3).long()
    ends = 0
    for seed in range(300):
        found = fit_clusters(
            z, y, classes=1, clusters=2, generator=Rng(seed).torch(), power=2.0, rounds=1
        )
        # only {0, 4} or {1, 4} leave 4 alone; {0, 1} gives it to 1
        ends += int((found.centroids == 4.0).any())
    # first even; 4 is the second with chance 16/17, 9/10, and the first always
    expected = (1 + 16 / 17 + 9 / 10) / 3
    assert abs(ends / 300 - expected) < 4 * (expected * (1 - expected) / 300) ** 0.5


def test_rows_come_back_from_their_places() -> None:
    z, y, _, _ = blobs(2)
    rows, there = padded(z, y, CLASSES + 1)
    assert int(there.sum()) == len(z)
    assert not bool(there[CLASSES].any())
    assert all(bool((rows[c][there[c]] == z[y == c]).all()) for c in range(CLASSES))


def test_what_cannot_be_fitted_is_refused() -> None:
    z, y = torch.zeros(5, 2), torch.tensor([0, 0, 0, 1, 1])
    with pytest.raises(BadPlan, match="class 1 has 2 images, too few for 3"):
        fit_clusters(z, y, classes=2, clusters=3, generator=Rng(0).torch())
    with pytest.raises(BadPlan, match="positive"):
        fit_clusters(z, y, classes=2, clusters=0, generator=Rng(0).torch())
    with pytest.raises(BadData, match="NaN"):
        fit_clusters(z / 0, y, classes=2, clusters=1, generator=Rng(0).torch())
    with pytest.raises(BadData, match="variances of shape"):
        ClassClusters(
            centroids=torch.zeros(2, 3, 4), variances=torch.zeros(2, 3, 2), shares=torch.ones(2, 3)
        )
