"""The penalty of a maker who knows the probe: its value by a second method, and what it does."""

import pytest
import torch
from sklearn.linear_model import LinearRegression
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, one_hot

from splitveil.data import LabelledImages
from splitveil.errors import BadPlan
from splitveil.malicious import Hiding, MultiClass, Resemblance, train_malicious
from splitveil.nets.small_pair import SmallDecoder, small_classifier
from splitveil.rng import Rng
from splitveil.training import Schedule


def _batch(n: int = 400) -> tuple[Tensor, Tensor, Tensor]:
    g = Rng(0).torch()
    x = torch.rand(n, 1, 8, 8, generator=g, dtype=torch.float64)
    y = torch.randint(3, (n,), generator=g)
    cells = adaptive_avg_pool2d(x, 4).flatten(1)
    mixed = cells @ torch.randn(16, 3, generator=g, dtype=torch.float64)
    return x, mixed + 5 * one_hot(y, 3), y


def test_the_penalty_is_the_r_squared_of_least_squares_beyond_the_class() -> None:
    x, outputs, y = _batch()
    cells = adaptive_avg_pool2d(x, 4).flatten(1)
    left_x, left_o = cells.clone(), outputs.clone()
    for label in range(3):
        left_x[y == label] -= cells[y == label].mean(0)
        left_o[y == label] -= outputs[y == label].mean(0)
    guess = LinearRegression(fit_intercept=False).fit(left_o.numpy(), left_x.numpy())
    missed = left_x.numpy() - guess.predict(left_o.numpy())
    expected = 1 - float((missed**2).sum()) / float(left_x.square().sum())
    found = float(Hiding(weight=2.0)(x, outputs, y)) / 2
    assert expected > 0.1
    assert found == pytest.approx(expected, rel=0.03)
    assert found < expected  # the ridge


def test_it_ignores_scale_and_what_the_class_tells_and_sees_bent_codes_only_with_bends() -> None:
    x, outputs, y = _batch()
    plain = float(Hiding(weight=1.0)(x, outputs, y))
    moved = float(Hiding(weight=1.0)(x, 7 * outputs + 30 * one_hot(y, 3), y))
    assert moved == pytest.approx(plain, rel=1e-6)
    only_class = 5 * one_hot(y, 3).double()
    assert float(Hiding(weight=1.0)(x, only_class, y)) == pytest.approx(0, abs=1e-9)
    mixed = outputs - 5 * one_hot(y, 3)
    folded = (mixed - mixed.mean(0)).abs()
    hidden = float(Hiding(weight=1.0)(x, folded, y))
    patterned = torch.stack([y == 0, y == 1], 1).long()
    assert float(Hiding(weight=1.0)(x, outputs, patterned)) == pytest.approx(plain, rel=1e-6)
    assert hidden < 0.1 * plain
    assert float(Hiding(weight=1.0, bends=64)(x, outputs, y)) > plain


def test_its_gradient_is_that_of_differences() -> None:
    x, outputs, y = _batch(30)
    wanted = outputs.clone().requires_grad_()
    for bends in (0, 5):
        hiding = Hiding(weight=1.0, bends=bends)
        assert torch.autograd.gradcheck(lambda o, h=hiding: h(x, o, y), (wanted,), atol=1e-6)


def test_a_maker_who_follows_it_leaves_the_probe_nothing() -> None:
    x, outputs, y = _batch(120)
    wanted = outputs.clone().requires_grad_()
    optimiser = torch.optim.Adam([wanted], lr=0.3)
    hiding = Hiding(weight=1.0)
    before = float(hiding(x, outputs, y))
    for _ in range(25):
        optimiser.zero_grad()
        hiding(x, wanted, y).backward()
        optimiser.step()
    assert float(hiding(x, wanted.detach(), y)) < 0.1 * before


def test_a_further_term_is_in_the_loss_and_in_the_choice_of_the_epoch() -> None:
    g = Rng(3).torch()
    images = LabelledImages(torch.rand(60, 1, 8, 8, generator=g), torch.arange(60) % 3)
    with Rng(5).as_global():
        pair = small_classifier(1, 3, width=8), SmallDecoder(3, (1, 8, 8), width=8)
    from_one: list[float] = []
    scores: list[float] = []

    def near_one(x: Tensor, outputs: Tensor, labels: Tensor) -> Tensor:
        assert len(x) == len(outputs) == len(labels)
        return 100 * (outputs - 1).square().mean()

    for extra in (None, near_one):
        found = train_malicious(
            *pair,
            images,
            task=MultiClass(3),
            validation=images,
            rng=Rng(0),
            schedule=Schedule(epochs=8, batch=30, learning_rate=2e-2, weight_decay=0.0),
            resemblance=Resemblance(similarity=0.0),
            augmentation=None,
            extra=extra,
        )
        from_one.append(float((found.outputs(images.x) - 1).square().mean()))
        scores.append(min(one.score for one in found.history))
    assert from_one[1] < 0.5 * from_one[0]
    assert scores[1] == pytest.approx(scores[0] + 100 * from_one[1], rel=0.3)


def test_a_penalty_that_is_none_is_refused() -> None:
    with pytest.raises(BadPlan, match="positive weight"):
        Hiding(weight=0.0)
    with pytest.raises(BadPlan, match="no negative bends"):
        Hiding(weight=1.0, bends=-1)
