"""Whitening against closed forms and against a pseudo-inverse of the covariance."""

import math
from typing import Literal

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.estimators import Whitening
from splitveil.estimators.whitening import images_in_block
from splitveil.rng import Rng


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Rng(seed).torch(), dtype=torch.float64)


def _known(variances: list[float], *, n: int = 16) -> Tensor:
    """n points of mean 3 whose covariance (divisor n - 1) is exactly diagonal."""
    columns = torch.from_numpy(hadamard(n)[:, 1 : 1 + len(variances)]).double()
    scale = (torch.tensor(variances, dtype=torch.float64) * (n - 1) / n).sqrt()
    return 3 + columns * scale


def _metric(whitening: Whitening) -> Tensor:
    return whitening.axes @ whitening.axes.T


@pytest.mark.parametrize("n", [20, 400])
@pytest.mark.parametrize("retained", [0.5, 0.9, 1.0])
def test_auxiliary_images_are_white(n: int, retained: float) -> None:
    x = _normal(n, 2, 4, 5) @ _normal(5, 5, seed=1)
    whitening = Whitening.fit(x, retained=retained)
    z = whitening.coordinates(x.flatten(1) - whitening.mean)
    assert torch.allclose(z.T @ z / (n - 1), torch.eye(whitening.directions).double(), atol=1e-9)
    assert whitening.retained >= retained - 1e-12
    assert whitening.directions <= min(n - 1, 40)
    assert whitening.total == pytest.approx(float(x.flatten(1).var(0).sum()))


@pytest.mark.parametrize(
    ("retained", "kept"), [(0.45, 1), (0.51, 2), (0.8, 3), (0.94, 5), (0.99, 5), (1.0, 5)]
)
def test_the_fewest_directions_that_retain_enough(retained: float, kept: int) -> None:
    """Variances 8, 4, 2, 1, 1: the two that tie go together."""
    whitening = Whitening.fit(_known([1, 4, 8, 1, 2]), retained=retained)
    expected = torch.tensor([8.0, 4, 2, 1, 1]).double()[:kept]
    assert torch.allclose(whitening.variances, expected)
    assert whitening.retained == pytest.approx(float(expected.sum()) / 16)
    assert torch.allclose(whitening.mean, torch.full((5,), 3.0).double())


def test_directions_of_rounding_alone_are_never_kept() -> None:
    x = _normal(200, 3) @ _normal(3, 30, seed=1)
    assert Whitening.fit(x, retained=1.0).directions == 3
    assert Whitening.fit(x[:20], retained=1.0).directions == 3


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("n", [15, 300])
def test_the_published_form_is_the_pseudo_inverse(
    precision: Literal["float32", "float64"], n: int
) -> None:
    x = _normal(n, 24) * torch.logspace(0, -4, 24).double() + 1
    covariance = torch.from_numpy(np.cov(x.numpy(), rowvar=False))
    cut = 24 * float(np.finfo(precision).eps)
    inverse = torch.linalg.pinv(covariance, rtol=cut, hermitian=True)
    whitening = Whitening.published(x, precision=precision)
    assert torch.allclose(_metric(whitening), inverse, rtol=1e-6, atol=1e-6 * float(inverse.max()))
    widest, *_, last = whitening.variances.tolist()
    assert last > cut * widest
    assert f"pseudo-inverse in {precision}" in whitening.rule


def test_the_two_precisions_keep_different_directions() -> None:
    x = _normal(300, 24) * torch.logspace(0, -4, 24).double()
    narrow, wide = Whitening.published(x), Whitening.published(x, precision="float64")
    assert narrow.directions < wide.directions == 24


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_blocks_change_nothing(block: int) -> None:
    x = _normal(200, 12) * torch.logspace(0, -1, 12)
    whole, parts = Whitening.fit(x), Whitening.fit(x.flip(0), images_a_block=block)
    assert whole.directions == parts.directions
    assert not torch.equal(whole.axes, parts.axes)
    assert torch.allclose(_metric(whole), _metric(parts), rtol=1e-11, atol=1e-11)


def test_ten_thousand_colour_images_go_into_one_block() -> None:
    assert images_in_block(3072) >= 10_000
    assert images_in_block(10**9) == 1


def test_bad_images_are_refused() -> None:
    x = _normal(9, 2, 3)
    for bad, words in (
        (x[:1], "at least 2"),
        (x[:0], "at least 2"),
        (x[:, :0], "at least 2"),
        (torch.ones_like(x), "all equal"),
        (torch.where(x > 1, math.nan, x), "NaN or infinite"),
        (1e200 * x, "rescale"),
        (1e-200 * x, "rescale"),
    ):
        for make in (Whitening.fit, Whitening.published):
            with pytest.raises(BadData, match=words):
                make(bad)
    with pytest.raises(BadData, match="values"):
        Whitening.fit(x).coordinates(_normal(3, 5))


def test_bad_settings_are_refused() -> None:
    x = _normal(9, 6)
    for retained in (0.0, -1.0, 1.1, math.nan):
        with pytest.raises(BadPlan, match="share of variance"):
            Whitening.fit(x, retained=retained)
    with pytest.raises(BadPlan, match="block"):
        Whitening.fit(x, images_a_block=0)
