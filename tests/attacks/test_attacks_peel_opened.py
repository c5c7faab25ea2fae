"""Blocks that a graph keeps whole as they act otherwise in training are found all the same."""

import pytest
import torch
from peel_nets import conv, halves, images, plain, seeded, stem
from torch import Tensor, nn

from splitveil.attacks.peel import Peel
from splitveil.attacks.peel.graph import read_head
from splitveil.rng import Rng


class Dropped(nn.Module):
    """A block whose branch is left out now and then in training, written as branches on a flag."""

    def __init__(self, width: int) -> None:
        nn.Module.__init__(self)
        self.branch = nn.Sequential(conv(width, width), nn.ReLU(inplace=True), conv(width, width))

    def forward(self, x: Tensor, rate: float = 0.5) -> Tensor:
        out: Tensor = self.branch(x)
        if rate and self.training:
            kept = torch.bernoulli(torch.full((len(x), 1, 1, 1), 1 - rate))
            out = out * kept / (1 - rate)
        out += x
        return out


class Shaped(nn.Module):
    """Whole in a graph, and with a step that gives no tensor."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.inner = conv(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x = x + torch.randn(x.shape)
        out: Tensor = self.inner(x).reshape(x.size(0), 4, 8, 8)
        return out


def test_a_block_that_drops_its_branch_in_training_is_found_and_undone() -> None:
    net = seeded(lambda: [*stem(12), Dropped(12)])
    x = images(2)
    _, knowledge, seen = halves(net, "3", x)
    peeler = Peel().fit(knowledge, Rng(0))
    assert any(stage.is_block for stage in peeler.stages)
    assert float((peeler(seen, Rng(1)) - x).square().mean()) < 1e-12


def test_such_a_block_behind_the_cut_tells_a_residual_network() -> None:
    net = seeded(lambda: [*stem(12), Dropped(12)])
    _, knowledge, _ = halves(net, "2", images(2))
    assert not any(stage.is_block for stage in Peel().fit(knowledge, Rng(0)).stages)


@pytest.mark.parametrize("block", [Dropped(4), Shaped()], ids=lambda block: type(block).__name__)
def test_what_is_laid_open_computes_the_same(block: nn.Module) -> None:
    net = seeded(lambda: [conv(3, 4), block, plain(4, 4)]).eval()
    x = images(3)
    head = halves(net, "2", x)[1].head
    graph = read_head(head, tuple(x.shape[1:]))
    with torch.no_grad():
        found = graph.double(x.double())
    (found,) = found if isinstance(found, tuple) else (found,)
    assert torch.allclose(found.flatten(1).float(), head(x), atol=1e-6)
