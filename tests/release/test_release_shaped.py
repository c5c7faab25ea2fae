"""Noise by value: the closed form of its shape, its density and capacity by a second method."""

import math

import pytest
import torch
from scipy import optimize, stats

from splitveil.errors import BadData, BadPlan
from splitveil.release import (
    ClippedGaussian,
    ShapedGaussian,
    ShapedNoise,
    fisher_variances,
    parse_release,
    powered_variances,
    shaped_variances,
)
from splitveil.rng import Rng


def _rate(s: torch.Tensor, n: torch.Tensor) -> float:
    return 0.5 * float(torch.log1p(s / n).mean())


@pytest.mark.parametrize("rate", [1e-3, 0.1, 1.0, 8.0])
def test_the_rate_is_met(rate: float) -> None:
    s = torch.logspace(-6, 3, 40, dtype=torch.float64)
    u = torch.linspace(0.1, 9, 40, dtype=torch.float64)
    assert _rate(s, shaped_variances(s, u, rate)) == pytest.approx(rate, rel=1e-8)


def test_the_shape_costs_least() -> None:
    """Against a general optimiser over log n with the rate as a constraint."""
    s = torch.tensor([4.0, 1.0, 0.2, 0.05], dtype=torch.float64)
    u = torch.tensor([1.0, 3.0, 0.5, 2.0], dtype=torch.float64)
    ours = shaped_variances(s, u, 0.4)

    def rate_of(log_n: list[float]) -> float:
        return _rate(s, torch.as_tensor(log_n, dtype=torch.float64).exp())

    found = optimize.minimize(
        lambda log_n: float((u * torch.as_tensor(log_n, dtype=torch.float64).exp()).sum()),
        torch.zeros(4, dtype=torch.float64).numpy(),
        constraints={"type": "ineq", "fun": lambda log_n: 0.4 - rate_of(log_n)},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert found.success
    assert float((u * ours).sum()) == pytest.approx(found.fun, rel=1e-6)
    assert ours.log().tolist() == pytest.approx(found.x.tolist(), abs=1e-3)


def test_scales_of_features_and_loss_do_not_matter() -> None:
    s = torch.rand(30, generator=Rng(1).torch(), dtype=torch.float64) + 0.01
    u = torch.rand(30, generator=Rng(2).torch(), dtype=torch.float64) + 0.01
    plain = shaped_variances(s, u, 0.2)
    assert torch.allclose(shaped_variances(1e12 * s, u, 0.2), 1e12 * plain, rtol=1e-9)
    assert torch.allclose(shaped_variances(s, 1e-9 * u, 0.2), plain, rtol=1e-9)


def test_density_is_scipys() -> None:
    z = torch.randn(6, 5, generator=Rng(3).torch(), dtype=torch.float64)
    release = ShapedNoise(rate=0.5, clip=0.5).fit(3 * z.repeat(20, 1) + torch.arange(5))
    sent = release(z, Rng(4).torch())
    expected = stats.norm.logpdf(sent, release.clip(z), release.sigma).sum(1)
    assert torch.allclose(release.log_prob(sent, z), torch.from_numpy(expected), atol=1e-9)
    for i, row in enumerate(release.pairwise_log_prob(sent, z)):
        assert torch.allclose(row, release.log_prob(sent[i].expand(6, 5), z), atol=1e-8)


def test_even_noise_is_clipped_gaussian() -> None:
    z = torch.randn(40, 7, generator=Rng(5).torch(), dtype=torch.float64)
    ball = ClippedGaussian(z.mean(0), 2.0, 0.3)
    shaped = ShapedGaussian(ball, torch.full((7,), 0.3, dtype=torch.float64))
    sent = ball(z, Rng(6).torch())
    assert torch.equal(shaped(z, Rng(6).torch()), sent)
    assert torch.allclose(shaped.log_prob(sent, z), ball.log_prob(sent, z))
    assert shaped.capacity(7) == pytest.approx(ball.capacity(7))
    ours, its = shaped.envelope(7), ball.envelope(7)
    assert ours is not None
    assert its is not None
    assert ours.ceiling == pytest.approx(its.ceiling)
    assert torch.allclose(ours.log_density(sent), its.log_density(sent))


def test_no_log_ratio_exceeds_the_ceiling() -> None:
    z = 3 * torch.randn(300, 5, generator=Rng(7).torch(), dtype=torch.float64)
    release = ShapedNoise(rate=0.3, clip=0.7).fit(z * torch.tensor([1.0, 0.1, 5.0, 2.0, 0.5]))
    envelope = release.envelope(5)
    assert envelope is not None
    for draw in range(20):
        sent = release(z, Rng(draw).torch())
        ratio = release.log_prob(sent, z) - envelope.log_density(sent)
        assert float(ratio.max()) <= envelope.ceiling * (1 + 1e-6)


def test_capacity_is_that_of_water_filling() -> None:
    """Power is poured where noise is least: the reverse of filling powers above a level."""
    sigma = torch.tensor([0.1, 0.5, 1.0, 3.0], dtype=torch.float64)
    ball = ClippedGaussian(torch.zeros(4, dtype=torch.float64), 1.2, 1.0)
    found = optimize.minimize(
        lambda p: -0.5 * sum(math.log1p(x / s**2) for x, s in zip(p, sigma.tolist(), strict=True)),
        [0.36] * 4,
        bounds=[(0, None)] * 4,
        constraints={"type": "eq", "fun": lambda p: sum(p) - 1.44},
        method="SLSQP",
        options={"ftol": 1e-14},
    )
    assert ShapedGaussian(ball, sigma).capacity(4) == pytest.approx(-found.fun, rel=1e-6)


def test_dead_values_are_not_sent_bare() -> None:
    z = torch.randn(100, 4, generator=Rng(8).torch())
    z[:, 0] = 0
    release = parse_release("shaped(rate=0.2)").fit(z)
    assert isinstance(release, ShapedGaussian)
    assert float(release.sigma[0]) > 0.01 * float(release.sigma.max())


def test_what_has_no_shape_is_refused() -> None:
    one = torch.ones(3, dtype=torch.float64)
    with pytest.raises(BadPlan, match="rate must be positive"):
        shaped_variances(one, one, 0.0)
    with pytest.raises(BadData, match="must be positive"):
        shaped_variances(one * 0, one, 1.0)
    with pytest.raises(BadPlan, match="rate must be positive"):
        ShapedNoise(rate=math.inf)


def test_noise_of_a_power_costs_least_for_what_it_leaves() -> None:
    """The mean is the power asked for, and no noise of the same rate costs less."""
    s = torch.tensor([4.0, 1.0, 0.2, 0.05], dtype=torch.float64)
    u = torch.tensor([1.0, 3.0, 0.5, 2.0], dtype=torch.float64)
    for power in (1e-6, 0.7, 1e6):
        ours = powered_variances(s, u, power)
        assert float(ours.mean()) == pytest.approx(power, rel=1e-9)
        if power == 0.7:
            again = shaped_variances(s, u, _rate(s, ours))
            assert torch.allclose(ours, again, rtol=1e-6)
    even = torch.full((5,), 2.0, dtype=torch.float64)
    assert torch.allclose(powered_variances(even, even, 0.3), 0.15 * even)
    with pytest.raises(BadPlan, match="power must be positive"):
        powered_variances(s, u, 0.0)
    with pytest.raises(BadData, match="must be positive"):
        powered_variances(s, -u, 1.0)


def test_noise_of_a_fisher_trace_takes_least_power() -> None:
    g = torch.tensor([4.0, 1.0, 0.2, 0.05], dtype=torch.float64)
    ours = fisher_variances(g, 3.0)
    assert float((g / ours).sum()) == pytest.approx(3.0)
    found = optimize.minimize(
        lambda log_n: float(torch.as_tensor(log_n, dtype=torch.float64).exp().sum()),
        torch.zeros(4, dtype=torch.float64).numpy(),
        constraints={
            "type": "ineq",
            "fun": lambda log_n: (
                3.0 - float((g / torch.as_tensor(log_n, dtype=torch.float64).exp()).sum())
            ),
        },
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert found.success
    assert float(ours.sum()) == pytest.approx(found.fun, rel=1e-6)
    with pytest.raises(BadPlan, match="trace left must be positive"):
        fisher_variances(g, 0.0)
    with pytest.raises(BadData, match="slopes must be positive"):
        fisher_variances(g * 0, 1.0)
