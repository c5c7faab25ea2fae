"""Laws of known information, and what every estimator of information must obey on them."""

import math
from collections.abc import Callable

import pytest
import torch
from scipy import integrate
from torch import Tensor

from splitveil.errors import UnknownName
from splitveil.measures import calibrated, calibration_ladder, club, info_nce, mine, nwj
from splitveil.measures.proxies.ladder import (
    NATS,
    SOURCES,
    _half_width,
    _mixture_noise,
    half_cube,
    known_pairs,
    spiral,
)
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.testing.oracles import GaussianMixture

F64 = torch.float64
CRITICS = [mine, nwj, info_nce, club]
Proxy = Callable[[Tensor, Tensor, Rng], Quantity]


def test_the_rungs_are_those_of_the_theory() -> None:
    assert NATS == (0.5, 2.0, 5.0, 10.0, 20.0)
    assert SOURCES == ("gaussian", "half-cube", "spiral", "uniform", "mixture")


@pytest.mark.parametrize("nats", [0.0625, 0.5, 0.6, 2.5])
def test_uniform_noise_has_its_information(nats: float) -> None:
    half = _half_width(nats)
    z = torch.linspace(-half, 1 + half, 400_001, dtype=F64)
    p = (torch.minimum(z + half, torch.ones(())) - (z - half).clamp_min(0)).clamp_min(0) / (
        2 * half
    )
    entropy = -integrate.trapezoid(torch.xlogy(p, p).numpy(), z.numpy())
    assert entropy - math.log(2 * half) == pytest.approx(nats, abs=1e-6)


@pytest.mark.parametrize("nats", [0.0625, 0.6, 2.5])
def test_two_peaks_have_their_information(nats: float) -> None:
    one = torch.ones(1, 1, dtype=F64)
    even = torch.full((2,), 0.5, dtype=F64)
    means = torch.tensor([[-1.0], [1.0]], dtype=F64)
    problem = GaussianMixture(
        even, means, torch.full((2, 1, 1), 0.01, dtype=F64), one, one[0] * 0, _mixture_noise(nats)
    )
    assert problem.exact()[1] == pytest.approx(nats, abs=1e-5)


def test_recodings_of_the_ladder_are_bijections() -> None:
    z = torch.randn(50, 5, generator=Rng(1).torch(), dtype=F64)
    sent = half_cube(z)
    torch.testing.assert_close(sent.sign() * sent.abs() ** (2 / 3), z)
    turned = spiral(z)
    torch.testing.assert_close(turned.norm(dim=1), z.norm(dim=1))
    angle = -z.norm(dim=1, keepdim=True)
    a, b = turned[:, :2], turned[:, 2:4]
    back = torch.cat([angle.cos() * a - angle.sin() * b, angle.sin() * a + angle.cos() * b], 1)
    torch.testing.assert_close(back, z[:, :4])
    assert torch.equal(turned[:, 4], z[:, 4])


@pytest.mark.parametrize("source", SOURCES)
def test_pairs_without_information_are_independent(source: str) -> None:
    x, z = known_pairs(source, 0.0, 2, 4000, Rng(1))
    joined = torch.cat([x, z, x.square(), z.square()], 1).T.corrcoef()
    assert float(joined[:2, 2:4].abs().max()) < 0.06
    assert float(joined[4:6, 6:].abs().max()) < 0.08
    x, z = known_pairs(source, 20.0, 4, 100, Rng(1))
    assert bool(torch.isfinite(x).all())
    assert bool(torch.isfinite(z).all())


def _first_value(x: Tensor, z: Tensor, rng: Rng) -> Quantity:
    return Quantity.exact(float(x[0, 0]), unit="nat per image", kind=Kind.PROXY)


def test_a_value_comes_with_its_curve() -> None:
    x = torch.full((30, 2), 4.0)
    found = calibrated(_first_value, x, x, Rng(0), nats=(0.5, 2.0), sources=SOURCES)
    assert found.found.value == 4
    assert set(found.ladders) == set(SOURCES)
    assert [rung.nats for rung in found.ladders["spiral"]] == [0.5, 2.0]
    assert "spiral: 0.5 -> " in str(found)
    with pytest.raises(UnknownName, match="source"):
        calibration_ladder(_first_value, Rng(0), source="moon")


def _pairs(nats: float, seed: int = 3) -> tuple[Tensor, Tensor]:
    return known_pairs("gaussian", nats, 2, 1600, Rng(seed))


@pytest.mark.slow
@pytest.mark.parametrize("proxy", CRITICS)
def test_processing_adds_no_information(proxy: Proxy) -> None:
    x, z = _pairs(1.0)
    noise = torch.randn(z.shape, generator=Rng(5).torch(), dtype=F64)
    assert proxy(x, z + noise, Rng(0)).value < proxy(x, z, Rng(0)).value
    assert proxy(x, z[:, :1], Rng(0)).value < proxy(x, z, Rng(0)).value


@pytest.mark.slow
@pytest.mark.parametrize("proxy", CRITICS)
def test_independent_copies_add_up(proxy: Proxy) -> None:
    one, other = _pairs(0.5, 1), _pairs(0.5, 2)
    both = proxy(torch.cat([one[0], other[0]], 1), torch.cat([one[1], other[1]], 1), Rng(0))
    alone = proxy(*one, Rng(0)).value + proxy(*other, Rng(0)).value
    assert both.value == pytest.approx(alone, rel=0.35)


@pytest.mark.slow
@pytest.mark.parametrize("proxy", [mine, nwj, info_nce])
def test_bijections_change_little(proxy: Proxy) -> None:
    """In the limit they change nothing; CLUB's channel is Gaussian and does change."""
    x, z = _pairs(1.0)
    plain = proxy(x, z, Rng(0)).value
    assert proxy(half_cube(x), half_cube(z), Rng(0)).value == pytest.approx(plain, rel=0.3)
    assert proxy(x, spiral(z), Rng(0)).value == pytest.approx(plain, rel=0.3)
