"""Clipped Gaussian noise: clipping, scale, density and capacity against a second method."""

import math

import pytest
import torch
from scipy import stats

from splitveil.errors import BadData, BadPlan
from splitveil.release import ClippedGaussian, GaussianNoise
from splitveil.rng import Rng


def _features(n: int = 300, f: int = 20, offset: float = 0.0) -> torch.Tensor:
    return torch.randn(n, f, generator=Rng(1).torch()) * 3 + offset


def test_clipping_keeps_directions_and_bounds_distance() -> None:
    z = _features(offset=5)
    release = GaussianNoise(sigma=1.0, clip=0.5).fit(z)
    clipped = release.clip(z)
    before, after = z - release.centre, clipped - release.centre
    assert float(after.norm(dim=1).max()) <= release.radius * (1 + 1e-6)
    assert torch.allclose(torch.cosine_similarity(before, after), torch.ones(300), atol=1e-5)
    inside = before.norm(dim=1) <= release.radius
    assert 0.45 < float(inside.float().mean()) < 0.55
    assert torch.equal(clipped[inside], z[inside])
    assert release.sensitivity == 2 * release.radius


def test_sigma_counts_in_root_mean_squares_about_the_mean() -> None:
    z = _features(offset=100)
    release = GaussianNoise(sigma=0.5).fit(z)
    rms = float((z - z.mean(0)).square().mean().sqrt())
    assert release.sigma == pytest.approx(0.5 * rms, rel=1e-5)
    assert GaussianNoise(sigma=0.5, scale="absolute").fit(z).sigma == 0.5


def test_relative_noise_is_free_of_scale() -> None:
    z, sent = _features(), []
    for factor in (1.0, 1024.0):
        release = GaussianNoise(sigma=0.5).fit(factor * z)
        sent.append(release(factor * z, Rng(2).torch()) / factor)
    assert torch.allclose(sent[0], sent[1], rtol=1e-4, atol=1e-4)


def test_density_is_scipys() -> None:
    z = _features(6, 5).double()
    release = GaussianNoise(sigma=0.7, clip=0.5).fit(_features(100, 5).double())
    sent = release(z, Rng(3).torch())
    expected = stats.norm.logpdf(sent, release.clip(z), release.sigma).sum(1)
    assert torch.allclose(release.log_prob(sent, z), torch.from_numpy(expected), atol=1e-10)
    pairs = release.pairwise_log_prob(sent, z)
    for i in range(6):
        row = release.log_prob(sent[i].expand(6, 5), z)
        assert torch.allclose(pairs[i], row, atol=1e-10)


def test_pairwise_density_does_not_cancel_far_from_zero() -> None:
    z = _features(8, 50, offset=1e4)
    release = GaussianNoise(sigma=0.1).fit(z)
    sent = release(z, Rng(3).torch())
    assert torch.allclose(
        release.pairwise_log_prob(sent, z).diagonal(), release.log_prob(sent, z), rtol=1e-4
    )


def test_noise_is_white_and_of_the_stated_size() -> None:
    release = ClippedGaussian(torch.zeros(4), 1.0, 2.0)
    noise = release(torch.zeros(50_000, 4), Rng(4).torch())
    covariance = noise.T.cov()
    error = 2.0**2 * math.sqrt(2 / 50_000)
    assert torch.allclose(covariance, 4 * torch.eye(4), atol=5 * error)


def test_capacity_is_that_of_parallel_channels() -> None:
    release = ClippedGaussian(torch.zeros(10), 3.0, 2.0)
    assert release.capacity(10) == pytest.approx(5 * math.log(1 + 9 / 40))
    loud = ClippedGaussian(torch.zeros(10), math.inf, 2.0)
    assert loud.capacity(10) == pytest.approx(320 * math.log(2))


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.inf, math.nan])
def test_refuses_a_sigma_without_meaning(sigma: float) -> None:
    with pytest.raises(BadPlan, match="sigma"):
        GaussianNoise(sigma=sigma)


@pytest.mark.parametrize("clip", [0.0, 1.1])
def test_refuses_a_clip_that_is_no_share(clip: float) -> None:
    with pytest.raises(BadPlan, match="share"):
        GaussianNoise(sigma=1.0, clip=clip)


def test_refuses_features_without_scale() -> None:
    with pytest.raises(BadData, match="do not vary"):
        GaussianNoise(sigma=1.0).fit(torch.ones(5, 3))
    with pytest.raises(BadData, match="NaN"):
        GaussianNoise(sigma=1.0).fit(torch.full((5, 3), math.nan))
    with pytest.raises(BadData, match="none"):
        GaussianNoise(sigma=1.0).fit(torch.ones(0, 3))
