"""The scaling fit against known power laws."""

import numpy as np
import pytest

from splitveil.attacks.scaling import power_law, scaling_fit
from splitveil.errors import BadData
from splitveil.quantities import Kind
from splitveil.rng import Rng

SIZES = [32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0]


def test_finds_an_exact_law_again() -> None:
    errors = [0.01 + 0.5 * n**-0.7 for n in SIZES]
    found = scaling_fit(SIZES, errors, Rng(0))
    assert found.limit.value == pytest.approx(0.01, rel=0.1)
    assert found.law.exponent == pytest.approx(0.7, rel=0.05)
    assert found.law.gain == pytest.approx(0.5, rel=0.1)
    assert found.limit.kind is found.headroom.kind is Kind.PROXY
    assert found.headroom.value == pytest.approx(1 - found.limit.value / min(errors))


def test_foresees_errors_on_more_images_row_by_row() -> None:
    sizes = np.array(SIZES[:5])
    laws = power_law(sizes, np.stack([0.01 + 0.5 * sizes**-0.7, 2 * sizes**-0.3]))
    assert laws[0].at(4096.0) == pytest.approx(0.01 + 0.5 * 4096**-0.7, rel=0.05)
    assert laws[1].at(4096.0) == pytest.approx(2 * 4096**-0.3, rel=0.05)
    with pytest.raises(BadData, match="at least 3"):
        power_law(sizes[:2], np.ones((1, 2)))


def test_says_whether_an_attack_is_saturated() -> None:
    flat = scaling_fit(SIZES, [0.02 + 1e-6 / n for n in SIZES], Rng(0))
    assert flat.is_saturated
    assert str(flat).startswith("saturated")
    steep = scaling_fit(SIZES, [n**-0.5 for n in SIZES], Rng(0))
    assert not steep.is_saturated
    assert steep.headroom.value > 0.8
    assert "proves little" in str(steep)
    worse = scaling_fit(SIZES, [0.05, 0.04, 0.03, 0.03, 0.03, 0.04, 0.04, 0.05], Rng(0))
    assert worse.rises
    assert not worse.is_saturated
    assert "like the private ones" in str(worse)
    assert not steep.rises


def test_the_interval_holds_the_limit_most_of_the_time() -> None:
    """Residuals resampled from eight runs: well above half, without claiming 95 %."""
    held = 0
    for seed in range(12):
        noise = np.random.default_rng(seed).normal(size=len(SIZES))
        errors = [
            (0.01 + 0.3 * n**-0.8) * (1 + 0.02 * e) for n, e in zip(SIZES, noise, strict=True)
        ]
        found = scaling_fit(SIZES, errors, Rng(seed)).limit
        held += found.low <= 0.01 <= found.high
    assert held >= 9


def test_size_of_the_network_counts_too() -> None:
    n, p = (each.ravel() for each in np.meshgrid(SIZES[::2], [1e4, 1e5, 1e6, 1e7]))
    errors = 0.01 + 0.3 * n**-0.6 + 2 * p**-0.5
    found = scaling_fit(list(n), list(errors), Rng(0), parameters=list(p))
    assert found.limit.value == pytest.approx(0.01, rel=0.25)
    assert found.law.exponent == pytest.approx(0.6, rel=0.2)


def test_bad_input() -> None:
    for images, errors in (
        ([1.0, 2.0], [0.1, 0.2]),
        (SIZES, [0.1]),
        ([], []),
        (SIZES, [0.0] * len(SIZES)),
        ([1.0, 1.0, 2.0], [0.1, 0.1, 0.1]),
    ):
        with pytest.raises(BadData):
            scaling_fit(images, errors, Rng(0))
