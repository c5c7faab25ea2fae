"""Tensors as they come: the same rows that `features` packs, each once."""

import torch

from splitveil.models.reference import resnet, vit
from splitveil.partition import trace
from splitveil.rng import Rng


def test_streamed_rows_are_those_of_the_packed_features() -> None:
    for make in (resnet, vit):
        network = make().eval()
        x = torch.rand(3, 1, 32, 32, generator=Rng(0).torch())
        traced = trace(network, x)
        cuts = traced.menu()
        with torch.no_grad():
            packed = traced.features(x, cuts)
            names, rows = zip(
                *((name, z.clone()) for name, z in traced.stream(x, cuts)), strict=True
            )
        assert len(set(names)) == len(names)
        assert {name for cut in cuts for name in traced.tensors(cut)} == set(names)
        by_name = dict(zip(names, rows, strict=True))
        for cut in cuts:
            side_by_side = torch.cat([by_name[name] for name in traced.tensors(cut)], 1)
            assert torch.equal(side_by_side, packed[cut.id]), cut.name


def test_nothing_is_streamed_for_no_cut() -> None:
    traced = trace(vit().eval(), torch.rand(2, 1, 32, 32, generator=Rng(0).torch()))
    assert list(traced.stream(torch.zeros(2, 1, 32, 32), [])) == []
