"""What fitting and using an attack holds at its peak, in copies of the auxiliary features."""

from collections.abc import Callable

import pytest
import torch
from attack_problems import blobs
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from splitveil.attacks import Decoder, NearestAuxiliary, NearestFeatures, PatchRidge, Ridge
from splitveil.attacks.base import Attack
from splitveil.attacks.memory import piecewise
from splitveil.partition.layout import Layout, Part
from splitveil.partition.types import Cut, CutKind, Partition
from splitveil.release import GaussianNoise, Identity
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Observation, white_box

IMAGES, SIDE, CHANNELS = 1500, 24, 16
FEATURES = CHANNELS * SIDE * SIDE
COPY = 4 * IMAGES * FEATURES


def most_held(work: Callable[[], object]) -> int:
    """The most bytes that tensors made by `work` take at one time, temporaries among them."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    found = seen.profiler
    assert found is not None
    assert found.kineto_results is not None
    changes = [
        (event.start_ns(), event.nbytes())
        for event in found.kineto_results.events()
        if event.name() == "[memory]"
    ]
    held = most = 0
    for _, change in sorted(changes, key=lambda each: each[0]):
        held += change
        most = max(most, held)
    return most


def test_the_measure_counts_temporaries() -> None:
    x = torch.ones(1000, 1000)
    assert most_held(lambda: x.double().sum()) == pytest.approx(8e6, rel=0.01)
    assert most_held(lambda: (x + 1).sum() + (x + 2).sum()) == pytest.approx(4e6, rel=0.01)


@pytest.mark.parametrize(
    ("attack", "copies"),
    [
        (NearestAuxiliary(), 1.7),
        (NearestFeatures(), 3.0),
        (PatchRidge(neighbourhoods=(1,)), 2.0),
        (Ridge(), 3.0),
        (Decoder(epochs=1, width=16, depth=1), 3.2),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Attack) else None,
)
def test_features_are_not_copied_over_and_over(attack: Attack, copies: float) -> None:
    """At the first convolution they are the largest thing an audit holds, by far."""
    with Rng(0).as_global():
        head = nn.Sequential(nn.Conv2d(2, CHANNELS, 3, padding=1), nn.Flatten()).eval()
    layout = Layout((Part("map", (CHANNELS, SIDE, SIDE)),))
    cut = Cut("id", "cut", CutKind.OTHER, 0.5, layout)
    partition = Partition(cut, head, Identity(), nn.Identity())
    x, y = blobs(IMAGES, SIDE, 0)
    knowledge = white_box(partition, Auxiliary(x, y))
    with torch.no_grad():
        sent = Observation(head(x[:64])[:, None], layout, y[:64])

    def attacked() -> Tensor:
        return attack.fit(knowledge, Rng(0))(sent, Rng(1))

    assert most_held(attacked) < copies * COPY


def test_noise_is_scaled_without_a_copy() -> None:
    z = torch.randn(IMAGES, FEATURES, generator=Rng(0).torch())
    assert most_held(lambda: GaussianNoise(sigma=1.0).fit(z)) < 0.6 * COPY


def test_pieces_are_the_whole() -> None:
    x = torch.randn(10, 3, generator=Rng(0).torch())
    for rows in (x, x[:4], x[:1], x[:0]):
        assert torch.equal(piecewise(lambda part: 2 * part, rows, 4), 2 * rows)
