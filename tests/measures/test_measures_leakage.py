"""Leakage and utility against closed forms."""

import math

import pytest
import torch
from scipy import stats

from splitveil.errors import BadData
from splitveil.measures import accuracy, agreement, leakage, mse_per_image, tail_leakage
from splitveil.rng import Rng
from splitveil.testing.oracles import LinearGaussian


def test_leakage_of_the_exact_attack_is_its_r_squared() -> None:
    """On the linear-Gaussian problem L = 1 - mmse / prior variance."""
    problem = LinearGaussian.random(4, 3, Rng(3))
    observation, x = problem.observe(4000, Rng(4), dtype=torch.float64)
    attack = mse_per_image(problem.posterior_mean(observation.z[:, 0]), x)
    floor = mse_per_image(problem.mean.expand_as(x), x)
    quantity = leakage(attack, floor, Rng(0), floor="mean image")
    truth = 1 - problem.mmse / float(problem.covariance.trace() / 4)
    assert quantity.low <= truth <= quantity.high
    assert quantity.high - quantity.low < 0.05
    assert any("mean image" in words for words in quantity.assumptions)


def test_ends_of_the_scale() -> None:
    floor = 0.1 + torch.rand(50, generator=Rng(1).torch())
    assert leakage(torch.zeros(50), floor, Rng(0)).value == 1
    assert leakage(floor, floor, Rng(0)).value == 0
    worse = leakage(3 * floor, floor, Rng(0))
    assert (worse.low, worse.value, worse.high) == (0, 0, 0)


def test_pairing_makes_a_constant_ratio_exact() -> None:
    floor = 0.1 + torch.rand(50, generator=Rng(1).torch())
    quantity = leakage(0.25 * floor, floor, Rng(0))
    assert quantity.low == pytest.approx(0.75)
    assert quantity.high == pytest.approx(0.75)


def test_one_image_gives_a_value_and_no_knowledge() -> None:
    quantity = leakage(torch.tensor([0.1]), torch.tensor([0.4]), Rng(0))
    assert quantity.value == pytest.approx(0.75)
    assert (quantity.low, quantity.high) == (0, 1)


def test_tail_is_the_quantile_of_what_each_image_loses() -> None:
    lost = torch.arange(1000) / 1000
    quantity = tail_leakage(1 - lost, torch.ones(1000), share=0.05)
    assert quantity.value == pytest.approx(0.949)
    low = stats.binom.ppf(0.025, 1000, 0.95)
    high = stats.binom.ppf(0.975, 1000, 0.95)
    assert quantity.low == pytest.approx((low - 1) / 1000, abs=1e-6)
    assert quantity.high == pytest.approx(high / 1000, abs=1e-6)


def test_tail_interval_covers_the_quantile() -> None:
    """300 samples of 200 uniforms: 15 misses expected, 15 + 4 sqrt(14) allowed."""
    missed = 0
    for seed in range(300):
        lost = torch.rand(200, generator=Rng(seed, ("tail",)).torch())
        quantity = tail_leakage(1 - lost, torch.ones(200), share=0.1)
        missed += not quantity.low <= 0.9 <= quantity.high
    assert missed <= 30


def test_tail_sees_the_few_images_that_a_mean_hides() -> None:
    attack, floor = torch.ones(1000), torch.ones(1000)
    attack[:30] = 0
    assert leakage(attack, floor, Rng(0)).high < 0.05
    assert tail_leakage(attack, floor).low == 1


def test_tail_leaves_out_images_that_equal_the_floor() -> None:
    floor = torch.ones(10)
    floor[0] = 0
    quantity = tail_leakage(torch.full((10,), 0.5), floor)
    assert quantity.n == 9
    assert (quantity.value, quantity.high) == (0.5, 1.0)


def test_bad_errors_are_refused() -> None:
    ones = torch.ones(3)
    with pytest.raises(BadData, match="nothing tells them apart"):
        leakage(ones, torch.zeros(3), Rng(0))
    with pytest.raises(BadData, match="same images"):
        leakage(ones, torch.ones(4), Rng(0))
    with pytest.raises(BadData, match="negative"):
        leakage(-ones, ones, Rng(0))
    with pytest.raises(BadData, match="NaN"):
        leakage(ones * math.nan, ones, Rng(0))
    with pytest.raises(BadData, match="share"):
        tail_leakage(ones, ones, share=1.0)


def test_accuracy_interval_is_clopper_and_pearsons() -> None:
    logits = torch.eye(2)[torch.tensor([0] * 7 + [1] * 3)]
    quantity = accuracy(logits, torch.zeros(10, dtype=torch.int64))
    assert quantity.value == 0.7
    assert quantity.low == pytest.approx(stats.beta.ppf(0.025, 7, 4))
    assert quantity.high == pytest.approx(stats.beta.ppf(0.975, 8, 3))


def test_agreement_needs_no_labels() -> None:
    first = torch.eye(3)[torch.tensor([0, 1, 2, 2])]
    second = torch.eye(3)[torch.tensor([0, 1, 2, 0])] * 5
    assert agreement(first, second).value == 0.75


def test_bad_answers_are_refused() -> None:
    logits, labels = torch.eye(3), torch.arange(3)
    with pytest.raises(BadData, match="class order"):
        accuracy(logits[:, :2], labels)
    with pytest.raises(BadData, match="one label an image"):
        accuracy(logits[:2], labels)
    with pytest.raises(BadData, match="NaN"):
        accuracy(logits * math.nan, labels)
    with pytest.raises(BadData, match="no images"):
        accuracy(logits[:0], labels[:0])
    with pytest.raises(BadData, match="compared"):
        agreement(logits, logits[:, :2])
