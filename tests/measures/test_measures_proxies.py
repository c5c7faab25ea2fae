"""Proxies: closed forms, independence, recodings, and what they say on known information."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.measures import (
    CriticTraining,
    calibration_ladder,
    club,
    distance_correlation,
    hsic,
    info_nce,
    mine,
    nwj,
)
from splitveil.measures.proxies.ladder import gaussian_pairs
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng

CRITICS = [mine, nwj, info_nce, club]
KERNELS = [distance_correlation, hsic]
Proxy = Callable[[Tensor, Tensor, Rng], Quantity]


def _bivariate(rho: float, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    x, noise = torch.randn(2, n, 1, generator=Rng(seed, (str(rho),)).torch(), dtype=torch.float64)
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def _distance_correlation(rho: float) -> float:
    """Squared, for standard bivariate normals (Székely, Rizzo and Bakirov 2007, theorem 7)."""
    top = rho * math.asin(rho) + math.sqrt(1 - rho**2)
    top += 1 - rho * math.asin(rho / 2) - math.sqrt(4 - rho**2)
    return top / (1 + math.pi / 3 - math.sqrt(3))


@pytest.mark.parametrize(("rho", "root"), [(0.3, 0.2690), (0.6, 0.5502), (0.9, 0.8682)])
def test_distance_correlation_of_normals(rho: float, root: float) -> None:
    exact = _distance_correlation(rho)
    assert math.sqrt(exact) == pytest.approx(root, abs=1e-4)
    found = distance_correlation(*_bivariate(rho, 2000), Rng(0))
    error = (found.high - found.low) / 4
    assert 0 < error < 0.03
    assert abs(found.value - exact) < 4 * error


@pytest.mark.parametrize("proxy", KERNELS)
def test_dependence_measures_vanish_at_independence(proxy: Proxy) -> None:
    """In the mean over 60 small samples, where the usual forms would be far above 0."""
    values = []
    for seed in range(60):
        x = torch.randn(60, 5, generator=Rng(seed, ("x",)).torch())
        z = torch.randn(60, 5, generator=Rng(seed, ("z",)).torch())
        values.append(proxy(x, z, Rng(seed)).value)
    spread = torch.tensor(values)
    assert abs(float(spread.mean())) < 3.5 * float(spread.std()) / math.sqrt(60)


@pytest.mark.parametrize("proxy", KERNELS)
def test_dependence_measures_ignore_scale_rotation_and_padding(proxy: Proxy) -> None:
    x, z = gaussian_pairs(2.0, 4, 200, Rng(0))
    turn = torch.linalg.qr(torch.randn(4, 4, generator=Rng(1).torch(), dtype=torch.float64)).Q
    plain = proxy(x, z, Rng(0)).value
    for other in (1000 * z, z @ turn, z + 7, torch.cat([z, torch.ones(200, 3)], 1)):
        assert proxy(x, other, Rng(0)).value == pytest.approx(plain, rel=1e-9)
    assert proxy(x, x, Rng(0)).value == pytest.approx(1.0)
    stretched = z * torch.tensor([100.0, 1.0, 1.0, 1.0])
    assert proxy(x, stretched, Rng(0)).value != pytest.approx(plain, rel=0.05)  # tells as much


@pytest.mark.parametrize("proxy", KERNELS)
def test_constant_features_tell_nothing(proxy: Proxy) -> None:
    x = torch.randn(50, 3, generator=Rng(0).torch())
    assert proxy(x, torch.ones(50, 2), Rng(0)).value == 0


def test_dependence_rises_with_correlation() -> None:
    for proxy in KERNELS:
        values = [proxy(*_bivariate(rho, 400), Rng(0)).value for rho in (0.0, 0.4, 0.8)]
        assert values[0] < values[1] < values[2]


@pytest.mark.parametrize("proxy", CRITICS)
def test_critics_say_little_of_independent_pairs(proxy: Proxy) -> None:
    found = proxy(*gaussian_pairs(0.0, 4, 800, Rng(3)), Rng(0))
    assert abs(found.value) < 0.15


@pytest.mark.parametrize("proxy", [mine, nwj, info_nce])
def test_critics_find_one_nat(proxy: Proxy) -> None:
    found = proxy(*gaussian_pairs(1.0, 1, 2000, Rng(3)), Rng(0))
    assert 0.75 < found.value < 1.1
    assert found.kind is Kind.PROXY
    assert not found.is_bound


def test_club_lies_where_its_own_formula_puts_it() -> None:
    """D rho² / (1 - rho²): 1.6 times the truth here, and worse for more."""
    found = club(*gaussian_pairs(1.0, 2, 2000, Rng(3)), Rng(0))
    own = 2 * math.expm1(1.0)
    assert found.value == pytest.approx(own, rel=0.2)
    assert found.value > 1.5


def test_contrastive_values_stop_at_their_ceiling() -> None:
    x, z = gaussian_pairs(12.0, 2, 1600, Rng(3))
    found = info_nce(x, z, Rng(0))
    assert 0.6 * math.log(80) < found.value <= math.log(80)
    assert "never above log 80" in found.assumptions[0]


def test_critics_ignore_the_scale_of_features() -> None:
    x, z = gaussian_pairs(1.0, 2, 800, Rng(3))
    short = CriticTraining(epochs=3)
    plain = info_nce(x, z, Rng(0), training=short)
    scaled = info_nce(x, 1024 * z, Rng(0), training=short)
    assert scaled.value == pytest.approx(plain.value, abs=1e-4)


def test_ladder_has_the_information_it_states() -> None:
    """The sample's own Gaussian information, and a rung for each truth in order."""

    def plug_in(x: Tensor, z: Tensor, rng: Rng) -> Quantity:
        both = torch.cat([x, z], 1).T.cov()
        d = x.shape[1]
        nats = 0.5 * (both[:d, :d].logdet() + both[d:, d:].logdet() - both.logdet())
        return Quantity.exact(float(nats), unit="nat per image", kind=Kind.PROXY)

    rungs = calibration_ladder(plug_in, Rng(0), nats=(0.0, 0.5, 2.0, 5.0, 10.0))
    assert [rung.nats for rung in rungs] == [0.0, 0.5, 2.0, 5.0, 10.0]
    for rung in rungs:
        assert rung.found.value == pytest.approx(rung.nats, abs=0.15)
    with pytest.raises(BadPlan, match="finite nats"):
        calibration_ladder(plug_in, Rng(0), nats=(-1.0,))


@pytest.mark.slow
@pytest.mark.parametrize("proxy", CRITICS)
def test_ladders_of_critics_rise(proxy: Proxy) -> None:
    """Lower forms end below the truth, CLUB above it."""
    rungs = calibration_ladder(proxy, Rng(0), nats=(0.5, 2.0, 5.0, 10.0))
    low = [rung.found.low for rung in rungs]
    if proxy is club:
        assert all(rung.found.high > rung.nats for rung in rungs)
    else:
        assert all(end <= rung.nats for end, rung in zip(low, rungs, strict=True))


@pytest.mark.parametrize("proxy", [*KERNELS, *CRITICS])
def test_proxies_refuse_what_they_cannot_use(proxy: Proxy) -> None:
    x = torch.randn(500, 2, generator=Rng(0).torch())
    with pytest.raises(BadData, match="one of each"):
        proxy(x, x[:5], Rng(0))
    with pytest.raises(BadData, match="at least"):
        proxy(x[:39], x[:39], Rng(0))
    with pytest.raises(BadData, match="features hold"):
        proxy(x, x * math.nan, Rng(0))


def test_a_critic_needs_settings_that_can_train() -> None:
    with pytest.raises(BadPlan, match="a critic needs"):
        CriticTraining(epochs=0)
