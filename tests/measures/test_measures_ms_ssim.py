"""MS-SSIM against a second implementation, and its limits."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.measures.ms_ssim import ms_ssim, ms_ssim_per_image
from splitveil.rng import Rng
from splitveil.testing.conformance.measures import MeasureCase, MeasureConformance

WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])


def _pair(n: int, rng: Rng, side: int = 24) -> tuple[Tensor, ...]:
    x = torch.rand(n, 1, side, side + 4, generator=rng.child("x").torch())
    noise = torch.randn(x.shape, generator=rng.child("noise").torch())
    return (x + 0.2 * noise).clamp(0, 1), x


def _equal(n: int, rng: Rng) -> tuple[Tensor, ...]:
    return _pair(n, rng)[1].clone(), _pair(n, rng)[1]


class TestMsSsim(MeasureConformance):
    @pytest.fixture
    def case(self) -> MeasureCase:
        return MeasureCase(
            measure=lambda i, rng: ms_ssim(i[0], i[1], rng, scales=2),
            inputs=_pair,
            unit="ms-ssim",
            ideal=_equal,
            best=1.0,
            ordered=True,  # torchmetrics' filters round by position in the batch
        )


def _blurred(image: NDArray[np.float64]) -> NDArray[np.float64]:
    return gaussian_filter(image, 1.5, mode="mirror", radius=5)


def _by_hand(x: NDArray[np.float64], y: NDArray[np.float64], scales: int) -> float:
    """The formula of Wang et al. 2003 for one grey image, on scipy's filters."""
    weights = WEIGHTS[:scales] / WEIGHTS[:scales].sum()
    value = 1.0
    for scale, weight in enumerate(weights):
        mx, my = _blurred(x), _blurred(y)
        vx, vy = _blurred(x * x) - mx**2, _blurred(y * y) - my**2
        structure = (2 * (_blurred(x * y) - mx * my) + 0.03**2) / (vx + vy + 0.03**2)
        if scale < scales - 1:
            value *= max(0.0, structure[5:-5, 5:-5].mean()) ** weight
            x, y = (
                i[: i.shape[0] // 2 * 2, : i.shape[1] // 2 * 2]
                .reshape(i.shape[0] // 2, 2, i.shape[1] // 2, 2)
                .mean((1, 3))
                for i in (x, y)
            )
        else:
            light = (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
            value *= max(0.0, (light * structure).mean()) ** weight
    return value


@pytest.mark.parametrize(("scales", "side"), [(2, 22), (3, 44), (3, 51), (4, 99)])
def test_it_is_the_formula(scales: int, side: int) -> None:
    x, y = _pair(2, Rng(5), side)
    found = ms_ssim_per_image(x, y, scales=scales)
    hand = [
        _by_hand(a[0].double().numpy(), b[0].double().numpy(), scales)
        for a, b in zip(x, y, strict=True)
    ]
    assert found.tolist() == pytest.approx(hand, abs=2e-5)


@pytest.mark.parametrize(("scales", "side"), [(2, 22), (3, 44), (4, 99), (5, 176)])
def test_smallest_image_of_each_number_of_scales(scales: int, side: int) -> None:
    x = torch.rand(1, 1, side, side, generator=Rng(0).torch())
    assert float(ms_ssim_per_image(x, x, scales=scales)) == pytest.approx(1.0)
    with pytest.raises(BadData, match=f"at least {side} pixels"):
        ms_ssim_per_image(x[..., 1:], x[..., 1:], scales=scales)


def test_a_small_image_is_told_what_fits() -> None:
    x = torch.zeros(1, 3, 64, 64)
    with pytest.raises(BadData, match="scales=3 fits"):
        ms_ssim_per_image(x, x)
    with pytest.raises(BadData, match="use ssim or mse"):
        ms_ssim_per_image(x[..., :16, :16], x[..., :16, :16])
    with pytest.raises(BadPlan, match="one scale is ssim"):
        ms_ssim_per_image(x, x, scales=1)


def test_the_number_of_scales_is_said() -> None:
    x, y = _pair(3, Rng(0), 44)
    assert "3 scales" in ms_ssim(x, y, Rng(0), scales=3).assumptions
    assert ms_ssim(1 - y, y, Rng(0), scales=3).value == 0
