"""Reconstruction errors against scikit-image and against arithmetic."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from splitveil.errors import BadData
from splitveil.measures import (
    mean_of,
    mse,
    mse_per_image,
    psnr,
    psnr_of_mean,
    psnr_per_image,
    ssim_per_image,
)
from splitveil.quantities import Kind
from splitveil.rng import Rng


def _pair(n: int = 5, side: int = 24, channels: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = Rng(1, ("pair",)).torch()
    x = torch.rand(n, channels, side, side, generator=generator)
    strength = torch.linspace(0.02, 0.3, n)[:, None, None, None]
    return (x + strength * torch.randn(x.shape, generator=generator)).clamp(0, 1), x


def test_psnr_is_scikit_images() -> None:
    y, x = _pair(channels=3)
    expected = [
        peak_signal_noise_ratio(  # type: ignore[no-untyped-call]
            a.numpy(), b.numpy(), data_range=1.0
        )
        for a, b in zip(x, y, strict=True)
    ]
    assert np.allclose(psnr_per_image(y, x), expected, atol=1e-4)


def test_ssim_is_scikit_images() -> None:
    y, x = _pair(side=40)
    expected = [
        structural_similarity(  # type: ignore[no-untyped-call]
            a[0].double().numpy(),
            b[0].double().numpy(),
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            win_size=11,
        )
        for a, b in zip(x, y, strict=True)
    ]
    assert np.allclose(ssim_per_image(y, x), expected, atol=1e-4)


def test_ssim_of_many_images_is_that_of_each() -> None:
    y, x = _pair(n=300, side=11)
    assert torch.allclose(ssim_per_image(y, x)[257], ssim_per_image(y[257:258], x[257:258]))


def test_channels_are_averaged_not_summed() -> None:
    x = torch.zeros(2, 3, 4, 4)
    assert mse_per_image(x + 0.5, x).tolist() == [0.25, 0.25]


def test_vectors_are_targets_too() -> None:
    x = torch.zeros(3, 7)
    assert mse_per_image(x + 2, x).tolist() == [4.0, 4.0, 4.0]


def test_mean_of_psnr_exceeds_psnr_of_mean() -> None:
    y, x = _pair()
    mean, of_mean = psnr(y, x, Rng(0)), psnr_of_mean(y, x, Rng(0))
    errors = mse_per_image(y, x)
    assert of_mean.value == pytest.approx(-10 * math.log10(float(errors.mean())))
    assert mean.value == pytest.approx(float((-10 * errors.log10()).mean()))
    assert mean.value > of_mean.value
    assert "mean error" in " ".join(of_mean.assumptions)


def test_one_exact_image_makes_the_mean_psnr_infinite() -> None:
    y, x = _pair()
    y[0] = x[0]
    quantity = psnr(y, x, Rng(0))
    assert quantity.value == quantity.high == math.inf
    assert math.isfinite(psnr_of_mean(y, x, Rng(0)).value)


def test_one_image_says_nothing_about_others() -> None:
    y, x = _pair(n=1)
    quantity = mse(y, x, Rng(0))
    assert (quantity.low, quantity.high, quantity.n) == (0, math.inf, 1)
    assert quantity.kind is Kind.MEASURED


def test_interval_covers_the_mean_error() -> None:
    """100 samples of 40 images whose errors are chi-square: 5 misses expected, 16 allowed."""
    missed = 0
    for seed in range(100):
        noise = torch.randn(40, 4, generator=Rng(seed, ("cover",)).torch())
        quantity = mse(noise, torch.zeros(40, 4), Rng(seed))
        missed += not quantity.low <= 1 <= quantity.high
    assert missed <= 16


def test_bad_pairs_are_refused() -> None:
    y, x = _pair()
    with pytest.raises(BadData, match="one reconstruction for each original"):
        mse_per_image(y[:2], x)
    with pytest.raises(BadData, match="nothing to measure"):
        mse_per_image(y[:0], x[:0])
    broken = y.clone()
    broken[0, 0, 0, 0] = math.nan
    with pytest.raises(BadData, match="reconstructions hold 1 values"):
        mse_per_image(broken, x)
    with pytest.raises(BadData, match="at least 11 pixels"):
        ssim_per_image(y[..., :8], x[..., :8])
    with pytest.raises(BadData, match="no images"):
        mean_of(torch.zeros(0), Rng(0), unit="dB")
    with pytest.raises(BadData, match="NaN"):
        mean_of(torch.tensor([math.nan]), Rng(0), unit="dB")
