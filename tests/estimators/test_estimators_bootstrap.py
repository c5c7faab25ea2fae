"""Bootstrap intervals against scipy's and against the truth they claim to cover."""

import math

import numpy as np
import pytest
from scipy import stats

from splitveil.estimators import mean_interval, ratio_interval
from splitveil.rng import Rng


def _skewed(n: int, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return Rng(seed, ("skewed",)).numpy().exponential(size=n)


def test_mean_interval_is_scipys_bca() -> None:
    values = _skewed(80)
    ours = mean_interval(values, Rng(1), resamples=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, method="BCa", n_resamples=20_000, rng=Rng(2).numpy()
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)


def test_ratio_interval_is_scipys_paired_bca() -> None:
    bottom = 1 + _skewed(80, 1)
    top = 0.3 * bottom + 0.2 * _skewed(80, 2)
    ours = ratio_interval(top, bottom, Rng(1), resamples=20_000)

    def ratio(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return a.mean(axis) / b.mean(axis)

    theirs = stats.bootstrap(
        (top, bottom), ratio, paired=True, method="BCa", n_resamples=20_000, rng=Rng(2).numpy()
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)


def test_mean_interval_covers_the_mean() -> None:
    """200 samples of 50 exponentials: 10 misses expected, 10 + 5 sqrt(9.5) allowed."""
    missed = 0
    for seed in range(200):
        interval = mean_interval(_skewed(50, seed), Rng(seed), resamples=500)
        missed += not interval.low <= 1 <= interval.high
    assert missed <= 25


def test_pairing_narrows_the_interval() -> None:
    bottom = _skewed(200, 1) + 0.1
    paired = ratio_interval(0.5 * bottom, bottom, Rng(1))
    assert paired.low == pytest.approx(paired.high) == pytest.approx(0.5)
    loose = ratio_interval(0.5 * bottom, bottom[::-1].copy(), Rng(1))
    assert loose.high - loose.low > 0.05


def test_order_changes_no_bit() -> None:
    values = _skewed(30)
    assert mean_interval(values, Rng(1)) == mean_interval(values[::-1].copy(), Rng(1))
    other = _skewed(30, 5)
    assert ratio_interval(values, other, Rng(1)) == ratio_interval(
        values[::-1].copy(), other[::-1].copy(), Rng(1)
    )


def test_infinite_values_give_an_infinite_mean_and_no_nan() -> None:
    values = _skewed(30)
    values[3] = math.inf
    interval = mean_interval(values, Rng(1))
    assert interval.value == interval.high == math.inf
    assert not math.isnan(interval.low)


def test_equal_values_give_a_point() -> None:
    interval = mean_interval(np.full(9, 0.25), Rng(1))
    assert interval.low == interval.value == interval.high == 0.25


def test_a_floor_that_mostly_vanishes_stays_finite_or_infinite_never_nan() -> None:
    bottom = np.zeros(5)
    bottom[0] = 1.0
    interval = ratio_interval(np.zeros(5), bottom, Rng(1))
    assert interval.low == interval.value == 0
    assert not math.isnan(interval.high)
