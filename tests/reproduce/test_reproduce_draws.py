"""Numbers of several cuts: their intervals agree with those of two, and move as they must."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from splitveil.errors import BadData
from splitveil.measures import log_ratio_over_seeds
from splitveil.numerics import log_ratio
from splitveil.reproduce.draws import (
    error_draws,
    jackknife_draws,
    largest_rise,
    quantity_of,
    rank_correlation,
    step_share,
)
from splitveil.rng import Rng


def errors(cuts: int = 3, seeds: int = 3, images: int = 400) -> np.ndarray:
    generator = np.random.default_rng(5)
    shared = generator.gamma(4, 0.25, (1, 1, images))
    level = np.exp(np.arange(cuts))[:, None, None]
    shift = np.exp(generator.normal(0, 0.05, (cuts, seeds, 1)))
    return level * shared * shift * np.exp(generator.normal(0, 0.1, (cuts, seeds, images)))


@pytest.mark.parametrize("seeds", [1, 2, 3, 6])
def test_the_ratio_of_two_cuts_has_the_interval_of_the_hierarchical_bootstrap(seeds: int) -> None:
    table = errors(seeds=seeds)
    draws = error_draws(table, Rng(1), resamples=20_000)
    ours = quantity_of(np.log(draws[:, 2] / draws[:, 0]), unit="", n=400)
    a, b = (torch.from_numpy(table[cut])[None] for cut in (2, 0))
    theirs = log_ratio_over_seeds(a, b, Rng(2))
    width = theirs.high - theirs.low
    assert ours.value == pytest.approx(theirs.value, abs=1e-12)
    assert abs(ours.low - theirs.low) < 0.1 * width
    assert abs(ours.high - theirs.high) < 0.1 * width


def test_a_ratio_of_two_cuts_has_the_jackknife_interval_of_the_ratio() -> None:
    generator = np.random.default_rng(2)
    common = generator.normal(0, 0.02, 16)
    replicates = [np.exp(common + generator.normal(0, 0.005, 16) + k) for k in range(2)]
    values = [float(np.exp(np.log(row).mean())) for row in replicates]
    draws = jackknife_draws(values, [list(row) for row in replicates], Rng(0), resamples=40_000)
    ours = quantity_of(np.log(draws[:, 0] / draws[:, 1]), unit="", n=1)
    theirs = log_ratio(values[0], list(replicates[0]), values[1], list(replicates[1]))
    assert theirs is not None
    half = np.log(theirs.factor())
    assert ours.value == pytest.approx(theirs.log)
    assert ours.high - ours.value == pytest.approx(half, rel=0.03)
    assert ours.value - ours.low == pytest.approx(half, rel=0.03)


def test_the_order_of_images_and_the_scale_change_nothing_that_is_scale_free() -> None:
    table = errors()
    whole = step_share(error_draws(table, Rng(3)))
    scaled = step_share(error_draws(7 * table, Rng(3)))
    assert np.allclose(whole, scaled)


def test_shares_and_places_of_steps_by_hand() -> None:
    values = np.array([[1.0, 2.0, 16.0, 32.0], [1.0, 8.0, 9.0, 10.0]])
    assert step_share(values)[0] == pytest.approx(3 / 5)
    assert largest_rise(values).tolist() == [1, 0]
    assert largest_rise(1 / values).tolist() == [0, 2]


def test_rank_correlation_is_spearmans_with_ties() -> None:
    generator = np.random.default_rng(0)
    a = generator.integers(0, 4, (20, 8)).astype(np.float64)
    b = generator.normal(size=(20, 8))
    wanted = [spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]
    assert np.allclose(rank_correlation(a, b), wanted)


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(BadData, match="two images"):
        error_draws(np.ones((2, 2, 1)), Rng(0))
    with pytest.raises(BadData, match="positive"):
        error_draws(np.zeros((2, 2, 5)), Rng(0))
    with pytest.raises(BadData, match="jackknife"):
        jackknife_draws([1.0], [[1.0, None]], Rng(0))
    with pytest.raises(BadData, match="every resample"):
        quantity_of(np.array([1.0, np.nan]), unit="", n=1)
