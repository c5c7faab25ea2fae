"""Every closed form of the linear-Gaussian problem against a second method."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from splitveil.errors import BadInput
from splitveil.rng import Rng
from splitveil.testing.oracles import LinearGaussian

_PROBLEM = (st.integers(1, 7), st.integers(1, 9), st.integers(0, 10_000), st.floats(0.05, 20.0))


def _eye(d: int) -> LinearGaussian:
    eye, zero = torch.eye(d, dtype=torch.float64), torch.zeros(d, dtype=torch.float64)
    return LinearGaussian(zero, eye, eye, zero, 0.5)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_unit_problem_gives_a_fifth_three_ways(d: int) -> None:
    problem = _eye(d)
    assert problem.mmse == pytest.approx(0.2, rel=1e-12)
    assert problem.entropy_bound == pytest.approx(0.2, rel=1e-12)
    assert problem.van_trees == pytest.approx(0.2, rel=1e-12)
    assert problem.information == pytest.approx(0.5 * d * math.log(5), rel=1e-12)


@given(*_PROBLEM)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_closed_forms_agree_with_second_methods_and_bounds_hold(
    d: int, f: int, seed: int, sigma: float
) -> None:
    problem = LinearGaussian.random(d, f, Rng(seed), sigma=sigma)
    s, a = problem.covariance.numpy(), problem.matrix.numpy()
    fisher = a.T @ a / problem.sigma**2 + np.linalg.inv(s)
    posterior = np.linalg.inv(fisher)
    assert np.allclose(problem.posterior_covariance, posterior, rtol=1e-7, atol=1e-10)
    assert problem.mmse == pytest.approx(np.trace(posterior) / d, rel=1e-8)
    assert problem.entropy == pytest.approx(
        0.5 * np.linalg.slogdet(2 * np.pi * np.e * posterior)[1], rel=1e-8, abs=1e-8
    )
    received = a @ s @ a.T + problem.sigma**2 * np.eye(f)
    joint = np.block([[s, s @ a.T], [a @ s, received]])
    information = 0.5 * (
        np.linalg.slogdet(s)[1] + np.linalg.slogdet(received)[1] - np.linalg.slogdet(joint)[1]
    )
    assert problem.information == pytest.approx(information, rel=1e-7, abs=1e-7)
    eigenvalues = np.linalg.eigvalsh(posterior)
    assert problem.entropy_bound == pytest.approx(np.exp(np.log(eigenvalues).mean()), rel=1e-8)
    assert problem.van_trees == pytest.approx(1 / (1 / eigenvalues).mean(), rel=1e-8)

    slack = 1e-9
    assert 0 <= problem.van_trees <= problem.entropy_bound + slack
    assert problem.entropy_bound <= problem.mmse + slack
    assert problem.mmse <= np.trace(s) / d + slack


@pytest.mark.parametrize("seed", range(10))
def test_no_affine_attack_beats_the_posterior_mean(seed: int) -> None:
    problem = LinearGaussian.random(2 + seed % 5, 1 + seed, Rng(seed), sigma=0.1 * (1 + seed))
    best = problem.mean - problem.gain @ (problem.matrix @ problem.mean + problem.offset)
    assert problem.affine_error(problem.gain, best) == pytest.approx(problem.mmse, rel=1e-9)
    noise = torch.randn(problem.gain.shape, generator=Rng(seed).torch(), dtype=torch.float64)
    assert problem.affine_error(problem.gain + 0.01 * noise, best) >= problem.mmse * (1 - 1e-9)


def test_draws_follow_the_closed_forms() -> None:
    problem = LinearGaussian.random(4, 3, Rng(7))
    observation, x = problem.observe(40_000, Rng(8), dtype=torch.float64)
    z = observation.z[:, 0]
    errors = (problem.posterior_mean(z) - x).square().mean(1)
    error = float(errors.std()) / math.sqrt(len(errors))
    assert abs(float(errors.mean()) - problem.mmse) < 5 * error
    residual = problem.posterior_mean(z) - x
    assert torch.allclose(residual.T.cov(), problem.posterior_covariance, atol=0.02)
    assert float((residual.T @ (z - z.mean(0)) / len(z)).abs().max()) < 0.02
    constant = torch.zeros(4, dtype=torch.float64)
    lazy = (problem.gain * 0.5, constant)
    squared = (z @ lazy[0].T + lazy[1] - x).square().mean(1)
    standard = float(squared.std()) / math.sqrt(len(squared))
    assert abs(float(squared.mean()) - problem.affine_error(*lazy)) < 5 * standard


def test_regression_on_many_draws_finds_the_gain() -> None:
    problem = LinearGaussian.random(3, 5, Rng(1))
    knowledge = problem.knowledge(50_000, Rng(2), dtype=torch.float64)
    x = knowledge.auxiliary.x
    z = knowledge.oracle(x, Rng(3))
    design = torch.cat([z, torch.ones(len(z), 1, dtype=torch.float64)], 1)
    solution = torch.linalg.lstsq(design, x).solution
    error = problem.affine_error(solution[:-1].T, solution[-1])
    assert problem.mmse <= error < 1.002 * problem.mmse


def test_without_noise_only_the_null_space_is_hidden() -> None:
    eye, zero = torch.eye(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    matrix = torch.diag(torch.tensor([1.0, 2.0, 0.0, 0.0], dtype=torch.float64))
    problem = LinearGaussian(zero, eye, matrix, zero, 0.0)
    assert problem.mmse == pytest.approx(0.5, rel=1e-12)
    assert problem.information == math.inf
    assert problem.entropy == -math.inf
    assert problem.entropy_bound == 0
    assert problem.van_trees == 0
    nothing = LinearGaussian(zero, eye, torch.zeros_like(eye), zero, 0.0)
    assert (nothing.mmse, nothing.information, nothing.van_trees) == (1.0, 0.0, 1.0)


def test_several_sends_share_targets_not_noise() -> None:
    problem = LinearGaussian.random(2, 3, Rng(1), sigma=0.3)
    observation, x = problem.observe(3000, Rng(2), sends=4, dtype=torch.float64)
    assert observation.z.shape == (3000, 4, 3)
    clean = x @ problem.matrix.T + problem.offset
    spread = (observation.z - clean[:, None]).mean(1).square().mean()
    assert float(spread) == pytest.approx(0.3**2 / 4, rel=0.05)


def test_attacker_and_victim_draw_different_targets() -> None:
    problem = LinearGaussian.random(2, 3, Rng(1))
    knowledge = problem.knowledge(10, Rng(2))
    observation, x = problem.observe(10, Rng(2))
    assert x.dtype == observation.z.dtype == knowledge.auxiliary.x.dtype == torch.float32
    assert not torch.equal(knowledge.auxiliary.x, x)
    assert knowledge.layout.size == 3
    assert not knowledge.knows_label


def test_bad_problems_are_refused() -> None:
    eye, zero = torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    with pytest.raises(BadInput, match="positive definite"):
        LinearGaussian(zero, -eye, eye, zero, 1.0)
    with pytest.raises(BadInput, match="sigma"):
        LinearGaussian(zero, eye, eye, zero, -1.0)
