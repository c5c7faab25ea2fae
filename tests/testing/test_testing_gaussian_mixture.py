"""The mixture problem and the finite alphabet against second methods."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from splitveil.errors import BadInput
from splitveil.rng import Rng
from splitveil.testing.oracles import FiniteAlphabet, GaussianMixture, LinearGaussian


def test_one_component_is_the_linear_gaussian_problem() -> None:
    plain = LinearGaussian.random(4, 3, Rng(1))
    one = torch.ones(1, dtype=torch.float64)
    problem = GaussianMixture(
        one, plain.mean[None], plain.covariance[None], plain.matrix, plain.offset, plain.sigma
    )
    z = torch.randn(6, 3, generator=Rng(2).torch(), dtype=torch.float64)
    mean, error = problem.posterior(z)
    assert torch.allclose(mean, plain.posterior_mean(z))
    assert error.tolist() == pytest.approx([plain.mmse] * 6)
    assert problem.information_given_label == pytest.approx(plain.information)
    assert problem.mmse_given_label == pytest.approx(plain.mmse)
    assert float(problem.class_entropies) == pytest.approx(plain.prior_entropy)


@pytest.mark.parametrize("seed", range(6))
def test_quadrature_agrees_with_draws(seed: int) -> None:
    problem = GaussianMixture.random(
        2 + seed % 4, 1 + seed % 3, 1, Rng(seed), sigma=(0.1, 0.5, 2.0)[seed % 3]
    )
    error, information = problem.exact()
    by_draw, rate = problem.sampled(40_000, Rng(seed))
    assert by_draw.low - by_draw.value < 0 < by_draw.high - by_draw.value
    assert abs(by_draw.value - error) <= 2.5 * (by_draw.high - by_draw.value)
    assert abs(rate.value - information) <= 2.5 * (rate.high - rate.value)
    assert information >= problem.information_given_label - 1e-9
    assert problem.mmse_given_label <= error + 1e-9
    assert error <= float(problem.covariance.trace()) / problem.dimensions + 1e-9


def test_posterior_is_that_of_a_fine_grid_of_inputs() -> None:
    """Bayes' rule on a grid of X in one dimension, without any of the closed forms."""
    problem = GaussianMixture.random(3, 1, 2, Rng(4), sigma=0.4)
    x = torch.linspace(-15, 15, 60_001, dtype=torch.float64)
    deviations = problem.covariances[:, 0, 0].sqrt()
    prior = torch.zeros_like(x)
    for p, m, s in zip(problem.weights, problem.means[:, 0], deviations, strict=True):
        prior += p / s * torch.exp(-0.5 * ((x - m) / s) ** 2)
    z = problem.received_means[:2] + 0.3
    clean = x[:, None] @ problem.matrix.T + problem.offset
    for row, mean, error in zip(z, *problem.posterior(z), strict=True):
        likelihood = torch.exp(-(row - clean).square().sum(1) / (2 * 0.4**2))
        weight = prior * likelihood / (prior * likelihood).sum()
        assert float(mean) == pytest.approx(float(weight @ x), abs=1e-8)
        variance = float(weight @ x.square()) - float(weight @ x) ** 2
        assert float(error) == pytest.approx(variance, abs=1e-7)


def test_draws_follow_the_moments() -> None:
    problem = GaussianMixture.random(3, 4, 2, Rng(5))
    x, y = problem.draw(60_000, Rng(6))
    shares = y.bincount() / len(y)
    assert torch.allclose(shares.double(), problem.weights, atol=0.01)
    assert torch.allclose(x.T.cov(), problem.covariance, atol=0.15)
    z = problem.received_means[y]
    assert problem.posterior_mean(z).shape == x.shape


def test_a_gallery_is_a_mixture_without_spread() -> None:
    points = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    half = torch.full((2,), 0.5, dtype=torch.float64)
    eye, zero = torch.eye(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    problem = GaussianMixture(half, points, torch.zeros(2, 1, 1).double(), eye, zero, 0.5)
    z = torch.tensor([[0.3]], dtype=torch.float64)
    assert float(problem.posterior_mean(z)) == pytest.approx(1 / (1 + math.exp(0.4 / 0.5)))
    assert problem.mmse_given_label == pytest.approx(0)
    assert problem.exact()[1] < math.log(2)
    assert float(problem.class_entropies[0]) == -math.inf


def test_bad_mixture_problems_are_refused() -> None:
    good = GaussianMixture.random(2, 2, 2, Rng(0))
    parts = [good.weights, good.means, good.covariances, good.matrix, good.offset]
    with pytest.raises(BadInput, match="semidefinite"):
        GaussianMixture(parts[0], parts[1], -parts[2], parts[3], parts[4], 1.0)
    with pytest.raises(BadInput, match="positive"):
        GaussianMixture(parts[0], parts[1], parts[2], parts[3], parts[4], 0.0)
    with pytest.raises(BadInput, match="sum to 1"):
        GaussianMixture(2 * parts[0], parts[1], parts[2], parts[3], parts[4], 1.0)
    with pytest.raises(BadInput, match="one feature"):
        good.exact()


@given(st.integers(2, 9), st.integers(1, 7), st.integers(1, 3), st.integers(0, 10_000))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_finite_sums_agree_with_their_definitions(k: int, m: int, d: int, seed: int) -> None:
    problem = FiniteAlphabet.random(k, m, d, Rng(seed))
    joint, points = problem.joint.tolist(), problem.points
    sent = [sum(row[j] for row in joint) for j in range(m)]
    information = sum(
        p * math.log(p / (problem.prior[i].item() * sent[j]))
        for i, row in enumerate(joint)
        for j, p in enumerate(row)
    )
    assert problem.information == pytest.approx(information, abs=1e-10)
    error = 0.0
    for j in range(m):
        weight = problem.joint[:, j] / sent[j]
        middle = weight @ points
        error += sent[j] * float(weight @ (points - middle).square().sum(1)) / d
    assert problem.mmse == pytest.approx(error, abs=1e-15, rel=1e-9)
    assert problem.chance - 1e-12 <= problem.vulnerability <= 1 + 1e-12
    assert 0 <= problem.entropy <= problem.prior_entropy + 1e-12


def test_a_clear_and_a_blind_channel() -> None:
    points = torch.arange(4, dtype=torch.float64)[:, None]
    even = torch.full((4,), 0.25, dtype=torch.float64)
    clear = FiniteAlphabet(points, even, torch.eye(4, dtype=torch.float64))
    assert (clear.mmse, clear.vulnerability) == (0, 1)
    assert clear.information == pytest.approx(math.log(4))
    blind = FiniteAlphabet(points, even, torch.ones(4, 1, dtype=torch.float64))
    assert (blind.mmse, blind.vulnerability) == (1.25, 0.25)
    assert blind.information == pytest.approx(0)
    with pytest.raises(BadInput, match="sum to 1"):
        FiniteAlphabet(points, even, torch.ones(4, 2, dtype=torch.float64))
