import pytest
import torch
from torch import Tensor, nn

from splitveil.errors import BudgetExceeded
from splitveil.partition.layout import Layout, Part
from splitveil.partition.types import Cut, CutKind, Partition
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, BlackBox, Oracle, QueryFree, WhiteBox, white_box


class Noise(Release):
    def __call__(self, z: Tensor, generator: torch.Generator) -> Tensor:
        return z + torch.randn(z.shape, generator=generator)

    def bits(self, features: int) -> float:
        return 32.0 * features


class Counting(nn.Module):
    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.linear = nn.Linear(4, 3)
        self.drop = nn.Dropout(0.5)
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        out: Tensor = self.drop(self.linear(x))
        return out


@pytest.fixture
def partition() -> Partition:
    cut = Cut("id", "cut", CutKind.LINEAR, 1.0, Layout((Part("z", (3,)),)))
    return Partition(cut, Counting().eval(), Noise(), nn.Identity())


def test_oracle_counts_and_sends_exactly_what_the_device_sends(partition: Partition) -> None:
    x = torch.rand(10, 4)
    oracle = Oracle(partition, 25, batch=4)
    z = oracle(x, Rng(3))
    torch.testing.assert_close(z, partition.transmit(x, Rng(3)).detach())
    assert oracle.used == 10
    oracle(x, Rng(3))
    assert oracle.used == 20


def test_oracle_refuses_before_anything_is_sent(partition: Partition) -> None:
    oracle = Oracle(partition, 5)
    assert isinstance(partition.head, Counting)
    with pytest.raises(BudgetExceeded, match="6 queries asked, 5 of 5 left"):
        oracle(torch.rand(6, 4), Rng(0))
    assert oracle.used == 0
    assert partition.head.seen == []


def test_oracle_passes_no_gradient(partition: Partition) -> None:
    x = torch.rand(3, 4, requires_grad=True)
    assert not Oracle(partition, None)(x, Rng(0)).requires_grad


def test_oracle_has_no_limit_if_none_is_given(partition: Partition) -> None:
    oracle = Oracle(partition, None)
    oracle(torch.rand(300, 4), Rng(0))
    assert oracle.used == 300


def test_oracle_answers_no_images(partition: Partition) -> None:
    assert Oracle(partition, 0)(torch.rand(0, 4), Rng(0)).shape == (0, 3)


def test_oracle_runs_in_evaluation_mode_and_restores_the_mode(partition: Partition) -> None:
    x = torch.rand(8, 4)
    expected = Oracle(partition, None)(x, Rng(1))
    partition.head.train()
    torch.testing.assert_close(Oracle(partition, None)(x, Rng(1)), expected)
    assert partition.head.training


def test_each_level_grants_what_it_says_and_no_more(partition: Partition) -> None:
    whole = white_box(partition, Auxiliary(torch.rand(2, 4)), queries=3)
    free = QueryFree(whole.auxiliary, whole.tail, whole.layout, True, True)
    black = BlackBox(whole.auxiliary, whole.tail, whole.layout, True, True, whole.oracle)
    assert not hasattr(free, "oracle")
    assert not hasattr(black, "head")
    assert not hasattr(black, "release")
    assert whole.head is partition.head
    assert whole.oracle.limit == 3
    assert isinstance(whole, BlackBox)
    assert isinstance(black, QueryFree)
    assert not isinstance(free, BlackBox)
    assert not isinstance(black, WhiteBox)


def test_an_oracle_shows_no_partition_and_its_count_cannot_be_set(partition: Partition) -> None:
    oracle = Oracle(partition, 1)
    assert {n for n in dir(oracle) if not n.startswith("_")} == {"limit", "used"}
    with pytest.raises(AttributeError):
        oracle.used = 0  # type: ignore[misc]
    with pytest.raises(AttributeError):
        oracle.limit = None  # type: ignore[misc]
