"""Intervals over images and seeds, order statistics and Holm's correction against known answers."""

import math

import numpy as np
import pytest
from scipy import stats

from splitveil.estimators import hierarchical_interval, holm, quantile_interval, share_interval
from splitveil.estimators.hierarchical import Method
from splitveil.rng import Rng

Values = np.ndarray[tuple[int, int, int], np.dtype[np.float64]]


def _seeded(
    seed: int, models: int, attacks: int, n: int, spread: tuple[float, float, float, float]
) -> Values:
    """Mean 1 plus effects of the model, of its attack seed, of the image, and of all three."""
    g = Rng(seed, ("seeded",)).numpy()
    model, attack, image, rest = spread
    return (
        1
        + model * g.standard_normal((models, 1, 1))
        + attack * g.standard_normal((models, attacks, 1))
        + image * (g.exponential(size=(1, 1, n)) - 1)
        + rest * g.standard_normal((models, attacks, n))
    )


@pytest.mark.parametrize(
    "spread",
    [(1.0, 0.3, 0.5, 0.3), (0.05, 0.3, 2.0, 0.5), (0.0, 0.0, 1.0, 0.2), (0.0, 1.0, 0.2, 0.2)],
    ids=["models", "both", "images", "attacks"],
)
@pytest.mark.parametrize("models", [2, 3, 5])
def test_studentised_interval_covers_with_few_seeds(
    models: int, spread: tuple[float, float, float, float]
) -> None:
    """300 problems: 15 misses expected, 15 + 4 sqrt(14) allowed."""
    missed = 0
    for seed in range(300):
        values = _seeded(seed, models, 3, 60, spread)
        interval = hierarchical_interval(values, Rng(seed), resamples=1000)
        missed += not interval.low <= 1 <= interval.high
    assert missed <= 30


def test_percentile_interval_of_three_models_is_too_short_and_of_twenty_is_not() -> None:
    """At most 3 model means: the truth lies outside their range with chance 2 / 2^3."""
    missed = {3: 0, 20: 0}
    for models in missed:
        for seed in range(300):
            values = _seeded(seed, models, 1, 40, (1.0, 0.0, 0.1, 0.1))
            interval = hierarchical_interval(values, Rng(seed), method="percentile", resamples=1000)
            missed[models] += not interval.low <= 1 <= interval.high
    assert missed[3] > 45
    assert missed[20] <= 36


def test_both_methods_agree_on_many_images_and_models() -> None:
    values = _seeded(1, 40, 3, 400, (0.5, 0.0, 1.0, 0.3))
    first = hierarchical_interval(values, Rng(1))
    second = hierarchical_interval(values, Rng(1), method="percentile")
    width = first.high - first.low
    assert second.low == pytest.approx(first.low, abs=0.1 * width)
    assert second.high == pytest.approx(first.high, abs=0.1 * width)


def test_without_variation_of_images_it_is_students_interval() -> None:
    values = np.repeat(np.array([1.0, 2.0, 4.0])[:, None, None], 50, axis=2)
    interval = hierarchical_interval(values, Rng(0), resamples=100_000)
    error = math.sqrt(7 / 3) / math.sqrt(3)
    assert interval.value == pytest.approx(7 / 3)
    assert interval.high - interval.value == pytest.approx(stats.t.ppf(0.975, 2) * error, rel=0.03)


@pytest.mark.parametrize("method", ["studentised", "percentile"])
def test_one_seed_leaves_the_bootstrap_over_images(method: Method) -> None:
    values = _seeded(3, 1, 1, 200, (0.0, 0.0, 1.0, 0.0))
    interval = hierarchical_interval(values, Rng(0), method=method)
    theirs = stats.bootstrap(
        (values[0, 0],), np.mean, method="percentile", n_resamples=10_000, rng=Rng(1).numpy()
    ).confidence_interval
    width = theirs.high - theirs.low
    assert interval.low == pytest.approx(theirs.low, abs=0.04 * width)
    assert interval.high == pytest.approx(theirs.high, abs=0.04 * width)


def test_seeds_of_one_model_are_not_ignored() -> None:
    values = _seeded(3, 1, 4, 200, (0.0, 1.0, 0.1, 0.0))
    error = values.mean(2)[0].std(ddof=1) / 2
    interval = hierarchical_interval(values, Rng(0))
    assert interval.high - interval.value > 2 * error


def test_log_ratio_of_proportional_errors_is_a_point() -> None:
    errors = 0.1 + _seeded(5, 3, 2, 50, (0.1, 0.1, 0.3, 0.1)).clip(0)
    interval = hierarchical_interval(3 * errors, Rng(0), against=errors)
    assert interval.value == pytest.approx(math.log(3))
    assert interval.high - interval.low == pytest.approx(0, abs=1e-12)


def test_log_ratio_covers_the_truth() -> None:
    """Errors 2 e and e with model effects of their own; 300 problems, 45 misses allowed of 15."""
    missed = 0
    for seed in range(300):
        g = Rng(seed, ("ratio",)).numpy()
        image = g.exponential(size=(1, 1, 60))
        first, second = (
            scale * image * np.exp(0.2 * g.standard_normal((3, 1, 1))) for scale in (2, 1)
        )
        interval = hierarchical_interval(first, Rng(seed), against=second, resamples=1000)
        missed += not interval.low <= math.log(2) <= interval.high
    assert missed <= 30


def test_same_stream_same_bits() -> None:
    values = _seeded(1, 3, 3, 50, (1.0, 1.0, 1.0, 1.0))
    for method in ("studentised", "percentile"):
        first, second = (hierarchical_interval(values, Rng(4), method=method) for _ in range(2))
        assert first == second


def test_quantile_interval_covers_whatever_the_law() -> None:
    """400 samples of 120 exponentials, quantile .9: at most 20 + 4 sqrt(19) misses."""
    truth = -math.log(0.1)
    missed = 0
    for seed in range(400):
        values = Rng(seed, ("quantile",)).numpy().exponential(size=120)
        interval = quantile_interval(values, 0.9)
        missed += not interval.low <= truth <= interval.high
    assert missed <= 37


def test_quantile_beyond_the_sample_has_the_end_of_the_support() -> None:
    values = np.arange(10.0)
    interval = quantile_interval(values, 0.99, support=(0.0, 100.0))
    assert (interval.value, interval.high) == (9.0, 100.0)
    assert quantile_interval(values, 0.5).value == 4.0


@pytest.mark.parametrize("hits", [0, 3, 10])
def test_share_interval_is_scipys_for_whole_counts(hits: int) -> None:
    theirs = stats.binomtest(hits, 10).proportion_ci(0.95, method="exact")
    interval = share_interval(float(hits), 10)
    assert interval.low == pytest.approx(theirs.low)
    assert interval.high == pytest.approx(theirs.high)


def test_holm_by_hand() -> None:
    """.005 x 4 = .02; .011 x 3 = .033; .02 x 2 = .04; .04 x 1 = .04."""
    adjusted = holm(np.array([0.02, 0.005, 0.04, 0.011]))
    assert adjusted.tolist() == pytest.approx([0.04, 0.02, 0.04, 0.033])


def test_holm_never_falls_below_an_earlier_one_nor_above_one() -> None:
    assert holm(np.array([0.02, 0.024, 0.9])).tolist() == pytest.approx([0.06, 0.06, 0.9])
    assert holm(np.array([0.5, 0.6])).tolist() == [1.0, 1.0]
    assert holm(np.array([])).tolist() == []


def test_holm_keeps_the_chance_of_any_false_rejection() -> None:
    """2000 families of five true hypotheses with a shared part: at most 5 % + 4 se reject any."""
    g = Rng(0, ("holm",)).numpy()
    scores = 0.6 * g.standard_normal((2000, 1)) + 0.8 * g.standard_normal((2000, 5))
    p_values = 2 * stats.norm.sf(np.abs(scores))
    rejected = sum(bool((holm(row) <= 0.05).any()) for row in p_values)
    assert rejected <= 100 + 4 * math.sqrt(95)
