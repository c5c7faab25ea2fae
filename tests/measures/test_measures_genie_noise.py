"""The noise a bound needs, where the answer is known."""

import math

import pytest
import torch

from splitveil.errors import BadPlan
from splitveil.measures import noise_needed, share_of
from splitveil.quantities import Quantity
from splitveil.release import ClippedGaussian, Identity, Release
from splitveil.rng import Rng

N = 4000


def _problem() -> tuple[torch.Tensor, torch.Tensor]:
    """X ~ N(0, 1), Z = X + s E: least error s² / (1 + s²)."""
    x = torch.randn(N, 1, generator=Rng(1).torch(), dtype=torch.float64)
    return x, x


def _family(sigma: float) -> Release:
    return ClippedGaussian(torch.zeros(1, dtype=torch.float64), math.inf, sigma)


def test_noise_for_half_the_variance_is_one() -> None:
    x, features = _problem()
    found = noise_needed(x, features, _family, Rng(0), error=0.5, low=0.01, high=100.0, steps=10)
    assert found.sigma == pytest.approx(1.0, rel=0.15)
    assert found.sigma > 0.9  # the bound lies below the least error, so it asks for no less
    assert found.achieved.value == pytest.approx(0.5, rel=0.1)
    assert found.achieved.is_bound
    assert found.monotone
    assert found.utility is None
    assert found.holds == (found.achieved.value >= 0.5)


def test_utility_is_asked_at_the_noise_found() -> None:
    x, features = _problem()

    def utility(release: Release, rng: Rng) -> Quantity:
        return share_of(release(features, rng.torch())[:, 0].sign() == x[:, 0].sign())

    found = noise_needed(
        x, features, _family, Rng(0), error=0.5, low=0.01, high=100.0, steps=8, utility=utility
    )
    assert found.utility is not None
    right = 0.5 + math.asin(1 / math.sqrt(1 + found.sigma**2)) / math.pi
    assert found.utility.low < right < found.utility.high


def test_enough_from_the_start_is_the_smallest_noise() -> None:
    x, features = _problem()
    found = noise_needed(x, features, _family, Rng(0), error=0.01, low=2.0, high=4.0)
    assert found.sigma == 2.0


def test_noise_that_cannot_be_found_is_refused() -> None:
    x, features = _problem()
    with pytest.raises(BadPlan, match="short of 2"):
        noise_needed(x, features, _family, Rng(0), error=2.0)
    with pytest.raises(BadPlan, match="short of"):
        noise_needed(x, features, lambda _: Identity(), Rng(0), error=0.1)
    with pytest.raises(BadPlan, match="0 < low < high"):
        noise_needed(x, features, _family, Rng(0), error=0.1, low=2.0, high=1.0)
