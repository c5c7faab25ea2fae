"""Local differential privacy: the analytic Gaussian mechanism against integration."""

import math
from typing import Any

import pytest
import torch
from scipy import integrate, stats

from splitveil.errors import BadPlan
from splitveil.release import GaussianPrivacy, LaplacePrivacy, gaussian_delta, gaussian_mu
from splitveil.rng import Rng


def _features() -> torch.Tensor:
    return torch.randn(200, 6, generator=Rng(1).torch())


@pytest.mark.parametrize("mu", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.5])
def test_delta_is_the_hockey_stick_of_two_normals(mu: float, epsilon: float) -> None:
    """E max(0, 1 - exp(epsilon) q / p) under p = N(mu, 1), q = N(0, 1), integrated."""
    start = epsilon / mu + mu / 2  # where the density ratio is exp(epsilon)

    def surplus(s: float) -> float:
        return float(stats.norm.pdf(s, mu) - math.exp(epsilon) * stats.norm.pdf(s))

    expected = integrate.quad(surplus, start, mu + 40, points=[start + 1], limit=200)[0]
    assert gaussian_delta(mu, epsilon) == pytest.approx(expected, rel=1e-6, abs=1e-14)


@pytest.mark.parametrize("epsilon", [0.01, 0.5, 1.0, 8.0, 200.0])
@pytest.mark.parametrize("delta", [1e-12, 1e-5, 0.1])
def test_mu_is_the_largest_that_keeps_the_promise(epsilon: float, delta: float) -> None:
    mu = gaussian_mu(epsilon, delta)
    assert gaussian_delta(mu, epsilon) <= delta
    assert gaussian_delta(mu * (1 + 1e-6), epsilon) > delta


def test_the_analytic_noise_is_less_than_the_classical() -> None:
    for epsilon in (0.1, 0.5, 0.99):
        classical = math.sqrt(2 * math.log(1.25 / 1e-5)) / epsilon
        assert 1 / gaussian_mu(epsilon, 1e-5) < classical


def test_noise_keeps_the_promise_over_sends() -> None:
    for sends in (1, 4, 25):
        release = GaussianPrivacy(epsilon=2.0, delta=1e-4, sends=sends).fit(_features())
        mu = math.sqrt(sends) * release.sensitivity / release.sigma
        assert gaussian_delta(mu, 2.0) == pytest.approx(1e-4, rel=1e-6)


def test_laplace_noise_keeps_the_promise_over_sends() -> None:
    for sends in (1, 3):
        release = LaplacePrivacy(epsilon=1.5, sends=sends).fit(_features())
        assert sends * release.epsilon == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        (GaussianPrivacy, {"epsilon": 0.0}),
        (GaussianPrivacy, {"epsilon": 1.0, "delta": 0.0}),
        (GaussianPrivacy, {"epsilon": 1.0, "clip": 2.0}),
        (GaussianPrivacy, {"epsilon": 5000.0}),
        (LaplacePrivacy, {"epsilon": -1.0}),
        (LaplacePrivacy, {"epsilon": 1.0, "sends": 0}),
    ],
)
def test_promises_that_make_no_sense_are_refused(
    kind: type[GaussianPrivacy], setting: dict[str, Any]
) -> None:
    with pytest.raises(BadPlan):
        kind(**setting)
