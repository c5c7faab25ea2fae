"""Clipped Laplace noise: clipping, density, privacy and capacity against a second method."""

import math

import pytest
import torch
from scipy import integrate, stats

from splitveil.errors import BadData, BadPlan
from splitveil.release import ClippedLaplace, LaplaceNoise
from splitveil.rng import Rng


def _features(n: int = 300, f: int = 20, offset: float = 0.0) -> torch.Tensor:
    return torch.randn(n, f, generator=Rng(1).torch()) * 3 + offset


def test_clipping_keeps_directions_and_bounds_the_sum_of_absolutes() -> None:
    z = _features(offset=5)
    release = LaplaceNoise(sigma=1.0, clip=0.5).fit(z)
    before, after = z - release.centre, release.clip(z) - release.centre
    assert float(after.abs().sum(1).max()) <= release.radius * (1 + 1e-6)
    assert torch.allclose(torch.cosine_similarity(before, after), torch.ones(300), atol=1e-5)
    inside = before.abs().sum(1) <= release.radius
    assert 0.45 < float(inside.float().mean()) < 0.55
    assert torch.equal(release.clip(z)[inside], z[inside])


def test_sigma_is_the_standard_deviation_in_root_mean_squares() -> None:
    z = _features(offset=100)
    release = LaplaceNoise(sigma=0.5).fit(z)
    rms = float((z - z.mean(0)).square().mean().sqrt())
    noise = release(z[:1].expand(20_000, 20), Rng(2).torch()) - release.clip(z[:1])
    assert release.scale * math.sqrt(2) == pytest.approx(0.5 * rms, rel=1e-5)
    # the fourth moment of a Laplace law is 6 standard deviations to the fourth
    error = 0.5 * rms * math.sqrt(5 / (4 * noise.numel()))
    assert float(noise.std()) == pytest.approx(0.5 * rms, abs=5 * error)


def test_density_is_scipys() -> None:
    z = _features(6, 5).double()
    release = LaplaceNoise(sigma=0.7, clip=0.5).fit(_features(100, 5).double())
    sent = release(z, Rng(3).torch())
    expected = stats.laplace.logpdf(sent, release.clip(z), release.scale).sum(1)
    assert torch.allclose(release.log_prob(sent, z), torch.from_numpy(expected), atol=1e-10)
    pairs = release.pairwise_log_prob(sent, z)
    for i in range(6):
        row = release.log_prob(sent[i].expand(6, 5), z)
        assert torch.allclose(pairs[i], row, atol=1e-10)


def test_no_two_images_differ_by_more_than_epsilon() -> None:
    release = LaplaceNoise(sigma=1.0, clip=0.9).fit(_features())
    a, b = _features(50), _features(50, offset=3)
    sent = release(a, Rng(4).torch())
    gap = release.pairwise_log_prob(sent, torch.cat([a, b]))
    spread = gap.max(1).values - gap.min(1).values
    assert float(spread.max()) <= release.epsilon
    far = torch.zeros(2, 20)
    far[0, 0], far[1, 0] = 1e6, -1e6
    at = release.clip(far)
    worst = release.log_prob(at[:1], far[:1]) - release.log_prob(at[:1], far[1:])
    assert float(worst) == pytest.approx(release.epsilon, rel=1e-5)


def test_capacity_holds_what_a_two_point_input_carries() -> None:
    """Inputs at both ends of the ball, equally likely: their information by integration."""
    for radius in (0.3, 1.0, 4.0):
        release = ClippedLaplace(torch.zeros(1, dtype=torch.float64), radius, 1.0)

        def excess(s: float, radius: float = radius) -> float:
            near, far = stats.laplace.pdf(s, radius), stats.laplace.pdf(s, -radius)
            return float(near * math.log(2 * near / (near + far)))

        carried = integrate.quad(excess, -40, 40, points=[-radius, radius], limit=200)[0]
        assert 0 < carried <= release.capacity(1)
        assert release.capacity(1) <= min(release.epsilon, math.log1p(radius)) + 1e-12


@pytest.mark.parametrize("setting", [{"sigma": 0.0}, {"sigma": 1.0, "clip": 1.5}])
def test_settings_out_of_range_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(BadPlan, match=r"got (0\.0|1\.5)"):
        LaplaceNoise(**setting)


def test_features_that_do_not_vary_give_no_scale() -> None:
    with pytest.raises(BadData, match="do not vary"):
        LaplaceNoise(sigma=1.0).fit(torch.ones(9, 3))
