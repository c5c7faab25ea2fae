"""The paper's own probe, and clusters in place of classes."""

import pytest
import torch

from splitveil.errors import BadData
from splitveil.estimators.clusters import cluster_labels
from splitveil.estimators.moments import ClassMoments
from splitveil.estimators.paper_probe import paper_raw_radius
from splitveil.rng import Rng


def test_paper_probe_by_hand() -> None:
    """Class 0: 2 and 4 around 3; class 1 alone counts 0; class 2 is absent: (1 + 0) / 2."""
    z = torch.tensor([[2.0, 0.0], [4.0, 0.0], [9.0, 9.0]])
    assert paper_raw_radius(z, torch.tensor([0, 0, 1])) == pytest.approx(0.5)
    assert paper_raw_radius(z, torch.tensor([5, 5, 3])) == pytest.approx(0.5)


def test_paper_probe_is_the_radius_where_no_class_is_alone() -> None:
    z = torch.randn(60, 7, generator=Rng(0).torch())
    y = torch.arange(60) % 4
    moments = ClassMoments(4, 7)
    moments.update(z, y, torch.arange(60))
    assert paper_raw_radius(z, y) == pytest.approx(moments.result().values["radius"], rel=1e-6)


def test_paper_probe_is_faked_by_collapsed_predictions() -> None:
    """One predicted class gives the total scatter, one an image gives 0: neither is a radius."""
    z = torch.randn(50, 3, generator=Rng(1).torch())
    assert paper_raw_radius(z, torch.arange(50)) == 0
    total = float((z - z.mean(0)).square().sum(1).mean())
    assert paper_raw_radius(z, torch.zeros(50).long()) == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize("z", [torch.zeros(0, 3), torch.full((2, 3), torch.nan)])
def test_paper_probe_refuses_what_has_no_radius(z: torch.Tensor) -> None:
    with pytest.raises(BadData, match="finite"):
        paper_raw_radius(z, torch.zeros(len(z)).long())


def test_clusters_find_separate_classes() -> None:
    generator = Rng(2).torch()
    y = torch.arange(300) % 3
    z = 20 * torch.eye(3, 8)[y] + torch.randn(300, 8, generator=generator)
    found = cluster_labels(z, 3, Rng(0))
    for label in range(3):
        assert found[y == label].unique().numel() == 1
    assert found.unique().numel() == 3
    assert torch.equal(found, cluster_labels(z, 3, Rng(0)))


def test_clusters_of_fewer_images_than_asked_or_of_none() -> None:
    assert cluster_labels(torch.ones(5, 2), 2, Rng(0)).shape == (5,)
    with pytest.raises(BadData, match="ask for fewer"):
        cluster_labels(torch.ones(2, 2), 3, Rng(0))
    with pytest.raises(BadData, match="NaN"):
        cluster_labels(torch.full((5, 2), torch.inf), 2, Rng(0))
