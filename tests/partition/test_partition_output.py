"""What a whole network answers, split off like a cut."""

from collections.abc import Callable

import pytest
import torch
from handmade import BY_FX, Several
from torch import Tensor, nn

from splitveil.models.reference import vgg
from splitveil.partition import CutKind, measure_costs, trace
from splitveil.partition.graph import _attempt, _by_export
from splitveil.partition.verify import same
from splitveil.rng import Rng


def made(factory: Callable[[], nn.Module]) -> nn.Module:
    with Rng(5).as_global():
        return factory().eval()


@pytest.mark.parametrize("factory", BY_FX)
def test_its_head_is_the_network_and_its_tail_hands_on(
    factory: Callable[[], nn.Module], images: Tensor
) -> None:
    model = made(factory)
    traced = trace(model, images[:2])
    cut = traced.output
    assert cut is not None
    partition = traced.split(cut)
    with torch.no_grad():
        z = partition.head(images)
        assert z.shape == (len(images), cut.layout.size)
        assert same(partition.tail(z), model(images.clone()))
        assert torch.equal(traced.features(images, [cut])[cut.id], z)
    assert not any(True for _ in partition.tail.parameters())


def test_it_is_no_place_to_cut(images: Tensor) -> None:
    traced = trace(made(Several), images[:2])
    cut = traced.output
    assert cut is not None
    assert (cut.name, cut.kind, cut.depth) == ("output", CutKind.OUTPUT, 1.0)
    others = (*traced.menu(), *traced.prefixes(), *traced.frontiers(200))
    assert cut.id not in {other.id for other in others}
    assert traced.cut("output") is cut
    assert traced.cut(cut.id) is cut


def test_scores_and_probabilities_are_told_apart(images: Tensor) -> None:
    scores = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 14 * 14, 4))
    for network, name in (
        (scores, "logits"),
        (nn.Sequential(scores, nn.Softmax(1)), "softmax"),
        (nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()), "output"),
    ):
        found = trace(network.eval(), images[:2]).output
        assert found is not None
        assert found.name == name


def test_it_is_the_same_under_both_tracers() -> None:
    model, x = made(vgg), torch.rand(2, 1, 32, 32, generator=Rng(1).torch())
    by_fx, by_export = trace(model, x).output, _attempt("export", _by_export, model, x).output
    assert by_fx is not None
    assert by_export is not None
    assert (by_fx.id, by_fx.name) == (by_export.id, by_export.name)


def test_the_device_would_do_everything(images: Tensor) -> None:
    traced = trace(made(Several), images[:2])
    assert traced.output is not None
    (cost,) = measure_costs(traced, [traced.output], images[:1], repeats=6, seconds=0.0)
    assert cost.edge_flops == cost.total_flops
    assert cost.edge_parameters == cost.total_parameters
