from dataclasses import replace

import pytest
import torch
from attack_problems import Problem, blobs, partition_of
from torch import Tensor, nn

from splitveil.attacks import Decoder, PatchRidge, Ridge
from splitveil.attacks.base import Attack
from splitveil.attacks.inverse_network import Decoded
from splitveil.errors import BadInput, BadPlan
from splitveil.rng import Rng
from splitveil.threat import BlackBox, Observation

SMALL = Decoder(epochs=12, width=16, depth=1, batch=32)


def attack(p: Problem, recipe: Attack) -> float:
    fitted = recipe.fit(p.knowledge(), Rng(0))
    guess = fitted(Observation(p.z_test, p.partition.cut.layout, p.y_test), Rng(0))
    return float((guess - p.x_test).square().mean())


class Rectified(nn.Module):
    """A random map, then the absolute value: a linear attacker is left with little."""

    def __init__(self, d: int, f: int) -> None:
        nn.Module.__init__(self)
        g = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(d, f, generator=g) / d**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) @ self.weight).abs()


@pytest.fixture(scope="module")
def vectors() -> Problem:
    g = torch.Generator().manual_seed(1)
    x, y = torch.rand(1200, 4, generator=g) * 2 - 0.5, torch.zeros(1200, dtype=torch.int64)
    return Problem(partition_of(Rectified(4, 12), (12,)), x[:1000], y[:1000], x[1000:], y[1000:])


def test_beats_both_ridges_where_the_head_is_not_linear() -> None:
    with Rng(3).as_global():
        head = nn.Sequential(
            nn.Conv2d(2, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 8, 3, 2, 1), nn.ReLU(), nn.Flatten()
        )
    (x, y), (x_test, y_test) = blobs(600, 8, 1), blobs(200, 8, 2)
    p = Problem(partition_of(head, (8, 2, 2)), x, y, x_test, y_test)
    linear = min(attack(p, Ridge()), attack(p, PatchRidge()))
    assert attack(p, SMALL) < 0.9 * linear


def test_beats_ridge_on_vector_targets(vectors: Problem) -> None:
    assert attack(vectors, replace(SMALL, epochs=40, width=32)) < 0.7 * attack(vectors, Ridge())


def test_keeps_the_best_epoch_and_starts_from_the_better_ridge(image_problem: Problem) -> None:
    fitted = SMALL.fit(image_problem.knowledge(), Rng(0))
    assert isinstance(fitted, Decoded)
    assert len(fitted.held_out) == SMALL.epochs + 2
    assert min(fitted.held_out) <= fitted.held_out[0]
    still = replace(SMALL, epochs=1, learning_rate=1e-12).fit(image_problem.knowledge(), Rng(0))
    assert isinstance(still, Decoded)
    z = image_problem.z_test[:, 0]
    rows = still.classes.rows(image_problem.y_test, len(z))
    guesses = still.guesses(z, rows)
    torch.testing.assert_close(
        still.correct(still.net, z, guesses, rows), guesses[:, 0], atol=1e-6, rtol=0
    )


def test_a_random_release_is_drawn_anew_by_white_box_only(vectors: Problem) -> None:
    head = vectors.partition.head
    x, y = vectors.auxiliary.x, vectors.auxiliary.y
    assert y is not None
    noisy = Problem(partition_of(head, (12,), sigma=0.3), x, y, vectors.x_test, vectors.y_test)
    recipe = replace(SMALL, epochs=12, width=32, batch=64)
    whole = noisy.knowledge(queries=1000)
    black = BlackBox(whole.auxiliary, whole.tail, whole.layout, True, True, oracle=whole.oracle)
    observation = Observation(noisy.z_test, whole.layout, noisy.y_test)
    errors = [
        float((recipe.fit(k, Rng(0))(observation, Rng(0)) - noisy.x_test).square().mean())
        for k in (whole, black)
    ]
    assert whole.oracle.used == 1000
    assert errors[0] <= errors[1] * 1.02
    assert errors[0] < attack(noisy, Ridge())


def test_time_can_be_capped(image_problem: Problem) -> None:
    capped = replace(SMALL, epochs=10**6, seconds=0.5)
    fitted = capped.fit(image_problem.knowledge(), Rng(0))
    assert isinstance(fitted, Decoded)
    assert min(fitted.held_out) <= fitted.held_out[0]


@pytest.mark.parametrize("size", [5, 7, 18])
def test_any_image_size(size: int) -> None:
    head = nn.Sequential(nn.AvgPool2d(2), nn.Flatten())
    (x, y), (x_test, y_test) = blobs(40, size, 1), blobs(5, size, 2)
    half = size // 2
    p = Problem(partition_of(head, (2, half, half)), x, y, x_test, y_test)
    assert attack(p, replace(SMALL, epochs=1)) < 0.1


def test_features_that_are_no_map() -> None:
    with Rng(0).as_global():
        head = nn.Sequential(nn.Flatten(), nn.Linear(128, 20), nn.Tanh())
    (x, y), (x_test, y_test) = blobs(300, 8, 1), blobs(100, 8, 2)
    p = Problem(partition_of(head, (20,)), x, y, x_test, y_test)
    assert attack(p, SMALL) < 1.02 * attack(p, Ridge())


def test_refusals() -> None:
    for name, value in (("width", 12), ("depth", 0), ("samples", 3), ("epochs", 0)):
        with pytest.raises(BadPlan):
            replace(SMALL, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(BadPlan, match="seconds"):
        replace(SMALL, seconds=0.0)


def test_too_few_auxiliary_targets_to_hold_any_out() -> None:
    (x, y), (x_test, y_test) = blobs(5, 8, 1), blobs(2, 8, 2)
    p = Problem(partition_of(nn.Flatten(), (2, 8, 8)), x, y, x_test, y_test)
    with pytest.raises(BadInput, match="12 auxiliary"):
        attack(p, SMALL)
