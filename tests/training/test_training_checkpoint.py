"""A training that goes on from a checkpoint ends where one that never stopped does."""

import pytest
import torch
from torch import Tensor, nn

from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.training import Checkpoint, Schedule, fit

X = torch.randn(50, 3, generator=Rng(0).torch())


def net() -> nn.Module:
    with Rng(1).as_global():
        return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))


def loss(module: nn.Module, indices: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(len(indices), 1, generator=generator)
    return (module(X[indices]) + noise).square().mean()


def train(
    module: nn.Module, *, until: int = 6, resume: Checkpoint | None = None
) -> tuple[list[Checkpoint], tuple[float, ...]]:
    seen: list[Checkpoint] = []

    def go_on(checkpoint: Checkpoint) -> bool:
        seen.append(checkpoint.copied())
        return checkpoint.epoch < until

    trace = fit(
        module,
        loss,
        size=50,
        schedule=Schedule(epochs=6, batch=10),
        rng=Rng(2),
        resume=resume,
        go_on=go_on,
    )
    return seen, trace.losses


@pytest.mark.parametrize("until", [1, 4])
def test_resumed_training_is_the_same_bit_for_bit(until: int) -> None:
    whole, stopped, resumed = net(), net(), net()
    _, losses = train(whole)
    seen, first = train(stopped, until=until)
    assert len(seen) == len(first) == until
    _, told = train(resumed, resume=seen[-1])
    assert told == losses
    for one, other in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_a_checkpoint_serves_twice() -> None:
    seen, _ = train(net(), until=2)
    _, first = train(net(), resume=seen[-1])
    _, second = train(net(), resume=seen[-1])
    assert first == second


def test_a_checkpoint_of_another_network_is_refused() -> None:
    seen, _ = train(net(), until=1)
    with pytest.raises(BadPlan, match="another network"):
        train(nn.Linear(3, 1), resume=seen[-1])
