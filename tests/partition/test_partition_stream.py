"""Tensors as they come: the same rows that `features` packs, each once."""

import torch
from torch import Tensor, nn

from splitveil.models.reference import resnet, vit
from splitveil.partition import trace
from splitveil.partition.reuse import overwriting
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


class TwoReaders(nn.Module):
    """The convolution's output is read by an activation and again after it."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.relu = nn.ReLU()
        self.last = nn.Conv2d(2, 2, 3, padding=1)
        self.end = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """conv, relu, and their sum through another pair."""
        first = self.conv(x)
        return self.end(self.last(self.relu(first) + first))


def test_only_activations_that_read_alone_overwrite_their_input() -> None:
    x = torch.rand(3, 1, 8, 8, generator=Rng(0).torch())
    traced = trace(TwoReaders().eval(), x)
    assert {node.name for node in overwriting(traced.module, ())} == {"model_end"}
    last = [node for node in traced.module.graph.nodes if node.name == "model_last"]
    assert not overwriting(traced.module, last)
    cuts = traced.prefixes()
    with torch.no_grad():
        packed = traced.features(x, cuts)
        rows = dict(traced.stream(x, [cuts[-1]]))
    name = traced.tensors(cuts[-1])[0]
    assert torch.equal(rows[name], packed[cuts[-1].id])


def test_gradients_flow_through_a_stream() -> None:
    x = torch.rand(3, 1, 8, 8, generator=Rng(0).torch(), requires_grad=True)
    traced = trace(TwoReaders().eval(), x.detach())
    (rows,) = dict(traced.stream(x, [traced.prefixes()[-1]])).values()
    rows.sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().sum()) > 0
