"""Comparisons on the same images and over seeds: hand calculations, levels and coverage."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.estimators.bootstrap import ratio_interval
from splitveil.measures.over_seeds import log_ratio_over_seeds, mean_over_seeds
from splitveil.measures.paired import equivalence, log_ratio, paired_difference, paired_p_value
from splitveil.measures.r_squared import r_squared, spread_per_image
from splitveil.measures.tails import tail_of
from splitveil.rng import Rng
from splitveil.testing.conformance.measures import MeasureCase, MeasureConformance
from splitveil.testing.oracles import LinearGaussian


def _errors(n: int, rng: Rng) -> tuple[Tensor, ...]:
    shared = torch.rand(n, generator=rng.child("shared").torch(), dtype=torch.float64) + 0.1
    own = torch.rand(n, generator=rng.child("own").torch(), dtype=torch.float64)
    return shared * (1 + own), shared


def _no_change(n: int, rng: Rng) -> tuple[Tensor, ...]:
    return _errors(n, rng)[0].clone(), _errors(n, rng)[0]


def _over_seeds(n: int, rng: Rng) -> tuple[Tensor, ...]:
    first, second = _errors(6 * n, rng)
    return first.reshape(n, 3, 2), second.reshape(n, 3, 2)


def _targets(n: int, rng: Rng) -> tuple[Tensor, ...]:
    x = torch.rand(n, 3, generator=rng.child("x").torch())
    return x + 0.1 * torch.rand(n, 3, generator=rng.child("y").torch()), x


def _exact(n: int, rng: Rng) -> tuple[Tensor, ...]:
    return _targets(n, rng)[1].clone(), _targets(n, rng)[1]


CASES = {
    "paired_difference": MeasureCase(
        measure=lambda i, rng: paired_difference(i[0], i[1], rng, unit="dB"),
        inputs=_errors,
        unit="dB",
        ideal=_no_change,
        best=0.0,
        least=2,
    ),
    "log_ratio": MeasureCase(
        measure=lambda i, rng: log_ratio(i[0], i[1], rng),
        inputs=_errors,
        unit="log ratio",
        ideal=_no_change,
        best=0.0,
        least=2,
    ),
    "sign flips": MeasureCase(
        measure=lambda i, rng: paired_p_value(i[0], i[1], rng),
        inputs=_errors,
        unit="p value",
        ideal=_no_change,
        best=1.0,
        least=2,
    ),
    "wilcoxon": MeasureCase(
        measure=lambda i, rng: paired_p_value(i[0], i[1], rng, test="wilcoxon"),
        inputs=_errors,
        unit="p value",
        ideal=_no_change,
        best=1.0,
        least=2,
    ),
    "equivalence": MeasureCase(
        measure=lambda i, rng: equivalence(i[0], i[1], margin=0.1).difference,
        inputs=_errors,
        unit="share",
        ideal=_no_change,
        best=0.0,
        least=2,
    ),
    "mean_over_seeds": MeasureCase(
        measure=lambda i, rng: mean_over_seeds(i[0].movedim(0, 2), rng, unit="dB"),
        inputs=_over_seeds,
        unit="dB",
        least=2,
    ),
    "log_ratio_over_seeds": MeasureCase(
        measure=lambda i, rng: log_ratio_over_seeds(i[0].movedim(0, 2), i[1].movedim(0, 2), rng),
        inputs=_over_seeds,
        unit="log ratio",
        least=2,
    ),
    "r_squared": MeasureCase(
        measure=lambda i, rng: r_squared(i[0], i[1], rng),
        inputs=_targets,
        unit="share",
        ideal=_exact,
        best=1.0,
        least=2,
        ordered=True,
    ),
    "tail_of": MeasureCase(
        measure=lambda i, rng: tail_of(i[0], unit="dB", worst="largest"), inputs=_errors, unit="dB"
    ),
}


class TestComparisons(MeasureConformance):
    @pytest.fixture(params=list(CASES))
    def case(self, request: pytest.FixtureRequest) -> MeasureCase:
        return CASES[request.param]


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(Rng(seed, ("normal",)).numpy().standard_normal(shape))


def test_pairing_removes_what_images_have_in_common() -> None:
    shared = 10 * _normal(200)
    quantity = paired_difference(shared + 0.5 + 0.1 * _normal(200, seed=1), shared, Rng(0), unit="")
    assert quantity.low < 0.5 < quantity.high
    assert quantity.high - quantity.low < 0.05


def test_log_ratio_is_that_of_the_means_and_changes_sign() -> None:
    first, second = _errors(300, Rng(3))
    one, other = log_ratio(first, second, Rng(0)), log_ratio(second, first, Rng(0))
    assert one.value == pytest.approx(math.log(float(first.mean() / second.mean())))
    assert other.value == pytest.approx(-one.value)
    assert other.low == pytest.approx(-one.high, abs=0.1 * (one.high - one.low))


def test_log_ratio_covers_the_truth() -> None:
    """300 samples of 60 images: 15 misses expected, 15 + 4 sqrt(14) allowed."""
    missed = 0
    for seed in range(300):
        g = Rng(seed, ("ratio",)).numpy()
        shared = g.exponential(size=60) + 0.2
        first = torch.from_numpy(shared * 2 * g.uniform(0.5, 1.5, 60))
        quantity = log_ratio(first, torch.from_numpy(shared), Rng(seed))
        missed += not quantity.low <= math.log(2) <= quantity.high
    assert missed <= 30


def test_sign_flips_are_enumerated_for_few_images() -> None:
    differences = _normal(8) + 0.4
    observed = abs(float(differences.mean()))
    flips = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=8)), dtype=torch.float64)
    share = float(((flips * differences).mean(1).abs() >= observed - 1e-12).double().mean())
    quantity = paired_p_value(differences, torch.zeros(8), Rng(0))
    assert quantity.value == pytest.approx(share)


def test_wilcoxon_is_scipys() -> None:
    first, second = _normal(40) + 0.3, _normal(40, seed=1)
    expected = stats.wilcoxon(first.numpy(), second.numpy(), alternative="greater").pvalue
    found = paired_p_value(first, second, Rng(0), test="wilcoxon", alternative="greater")
    assert found.value == pytest.approx(float(expected))


def test_sign_flips_keep_their_level_and_find_a_difference() -> None:
    """200 null problems of 10 images: 10 rejections expected, 10 + 4 sqrt(9.5) allowed."""
    rejected = found = 0
    for seed in range(200):
        noise = _normal(10, seed=seed)
        rejected += paired_p_value(noise, torch.zeros(10), Rng(seed)).value <= 0.05
        found += paired_p_value(noise + 1.5, torch.zeros(10), Rng(seed)).value <= 0.05
    assert rejected <= 22
    assert found > 180


def _with_moments(mean: float, deviation: float, n: int) -> Tensor:
    """Numbers of exactly this mean and this deviation (n - 1)."""
    half = torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat(n // 2)
    return mean + deviation * half * math.sqrt((n - 1) / n)


def test_equivalence_by_hand() -> None:
    """Mean .1, deviation .5, n = 100: error .05; at margin .2 t = (.2 - .1) / .05 = 2 on 99."""
    result = equivalence(_with_moments(0.1, 0.5, 100), torch.zeros(100), margin=0.2)
    assert result.p_value == pytest.approx(float(stats.t.sf(2, 99)))
    assert result.holds
    half = 0.05 * float(stats.t.ppf(0.95, 99))
    assert result.difference.low == pytest.approx(0.1 - half)
    assert result.difference.high == pytest.approx(0.1 + half)
    assert result.difference.level == pytest.approx(0.9)


@pytest.mark.parametrize("mean", [0.1, -0.1])
@pytest.mark.parametrize("margin", [0.15, 0.18, 0.1835, 0.25])
def test_equivalence_holds_when_the_interval_lies_within_the_margin(
    mean: float, margin: float
) -> None:
    result = equivalence(_with_moments(mean, 0.5, 100), torch.zeros(100), margin=margin)
    inside = -margin < result.difference.low and result.difference.high < margin
    assert result.holds == inside


def test_equivalence_keeps_its_level_at_the_margin() -> None:
    """500 problems whose difference is the margin: 25 expected, 25 + 4 sqrt(24) allowed."""
    shown = sum(
        equivalence(_normal(50, seed=seed) + 0.5, torch.zeros(50), margin=0.5).holds
        for seed in range(500)
    )
    assert 5 <= shown <= 44


def test_not_significant_is_not_equivalent() -> None:
    """Twenty images right and wrong at random: no difference is found, and no sameness."""
    right = (_normal(20) > 0).double()
    other = (_normal(20, seed=1) > 0).double()
    assert paired_p_value(right, other, Rng(0)).value > 0.05
    assert not equivalence(right, other, margin=0.02).holds


def test_equal_differences_need_no_distribution() -> None:
    same = torch.full((5,), 0.3)
    assert equivalence(same, torch.zeros(5), margin=0.5).p_value == 0
    assert equivalence(same, torch.zeros(5), margin=0.2).p_value == 1


def test_seeds_are_counted_and_single_ones_said() -> None:
    values = 1 + _normal(3, 2, 40).abs()
    three = mean_over_seeds(values, Rng(0), unit="dB")
    assert three.value == pytest.approx(float(values.mean()))
    assert "holds for this one model" not in three.assumptions
    one = mean_over_seeds(values[:1, :1], Rng(0), unit="dB")
    assert {"holds for this one model", "holds for this one attack seed"} <= set(one.assumptions)


def test_another_model_seed_is_inside_the_interval_over_seeds_not_the_one_over_images() -> None:
    """Three models whose means differ by far more than images do."""
    values = torch.tensor([1.0, 2.0, 3.0])[:, None, None] + 0.01 * _normal(3, 1, 100)
    over_seeds = mean_over_seeds(values, Rng(0), unit="")
    assert over_seeds.low < 1
    assert over_seeds.high > 3
    over_images = mean_over_seeds(values[:1], Rng(0), unit="")
    assert over_images.high < 1.1


def test_log_ratio_over_seeds_sees_the_seeds() -> None:
    errors = 1 + _normal(3, 2, 50).abs()
    factors = torch.tensor([1.5, 2.0, 2.7])[:, None, None]
    quantity = log_ratio_over_seeds(factors * errors, errors, Rng(0))
    assert quantity.low < math.log(1.5)
    assert quantity.high > math.log(2.7)
    exact = log_ratio_over_seeds(2 * errors, errors, Rng(0), method="percentile")
    assert exact.high - exact.low == pytest.approx(0, abs=1e-12)


def test_total_r_squared_of_the_exact_attack() -> None:
    """On the linear-Gaussian problem R² = 1 - mmse / prior variance, means left aside."""
    problem = LinearGaussian.random(4, 3, Rng(3))
    observation, x = problem.observe(4000, Rng(4), dtype=torch.float64)
    quantity = r_squared(problem.posterior_mean(observation.z[:, 0]), x, Rng(0))
    truth = 1 - problem.mmse / float(problem.covariance.trace() / 4)
    assert quantity.low <= truth <= quantity.high
    assert quantity.high - quantity.low < 0.05


def test_class_alone_explains_the_total_and_nothing_within() -> None:
    y = torch.arange(60) % 3
    x = _normal(60, 5) + 10 * torch.eye(5, dtype=torch.float64)[y]
    means = torch.stack([x[y == c].mean(0) for c in range(3)])[y]
    assert r_squared(means, x, Rng(0)).value > 0.8
    within = r_squared(means, x, Rng(0), labels=y)
    assert within.value == pytest.approx(1 - 19 / 20)
    assert any("within-class" in words for words in within.assumptions)


def test_spread_is_the_unbiased_variance() -> None:
    x = _normal(30, 4, 2)
    spread = spread_per_image(x)
    assert float(spread.mean()) == pytest.approx(float(x.var(0).mean()))
    y = torch.arange(30) % 4
    within = spread_per_image(x, labels=y)
    for c in range(4):
        assert float(within[y == c].mean()) == pytest.approx(float(x[y == c].var(0).mean()))


def test_an_image_alone_in_its_class_is_left_out() -> None:
    x = _normal(5, 3)
    assert r_squared(x, x, Rng(0), labels=torch.tensor([0, 0, 7, 7, 9])).n == 4
    with pytest.raises(BadData, match="in a class"):
        r_squared(x, x, Rng(0), labels=torch.arange(5))
    with pytest.raises(BadData, match="at least two different"):
        r_squared(torch.ones(5, 3), torch.ones(5, 3), Rng(0))
    with pytest.raises(BadData, match="one each"):
        r_squared(x, x, Rng(0), labels=torch.arange(4))


@pytest.mark.parametrize(("worst", "truth"), [("smallest", 0.05), ("largest", 0.95)])
def test_tails_cover_the_quantile(worst: str, truth: float) -> None:
    """300 samples of 150 uniforms: at most 15 + 4 sqrt(14) misses."""
    missed = 0
    for seed in range(300):
        values = torch.from_numpy(Rng(seed, ("tails",)).numpy().uniform(size=150))
        quantity = tail_of(values, unit="", worst=worst)  # type: ignore[arg-type]
        missed += not quantity.low <= truth <= quantity.high
    assert missed <= 30


def test_tail_of_few_images_reaches_the_end_of_the_support() -> None:
    quantity = tail_of(
        torch.arange(10.0), unit="dB", worst="largest", share=0.01, support=(0.0, math.inf)
    )
    assert (quantity.value, quantity.high) == (9.0, math.inf)
    with pytest.raises(BadData, match="NaN"):
        tail_of(torch.tensor([math.nan]), unit="", worst="largest")
    with pytest.raises(BadData, match="no images"):
        tail_of(torch.tensor([]), unit="", worst="largest")
    with pytest.raises(BadData, match="share"):
        tail_of(torch.ones(3), unit="", worst="largest", share=0.0)


def test_bad_comparisons_are_refused() -> None:
    ones = torch.ones(3)
    with pytest.raises(BadData, match="at least two"):
        paired_difference(ones[:1], ones[:1], Rng(0), unit="")
    with pytest.raises(BadData, match="same images"):
        log_ratio(ones, ones[:2], Rng(0))
    with pytest.raises(BadData, match="negative"):
        log_ratio(-ones, ones, Rng(0))
    with pytest.raises(BadData, match="all zero"):
        log_ratio(0 * ones, ones, Rng(0))
    with pytest.raises(BadData, match="NaN"):
        paired_p_value(ones * math.nan, ones, Rng(0))
    with pytest.raises(BadPlan, match="margin"):
        equivalence(ones, ones, margin=0.0)
    with pytest.raises(BadPlan, match="level"):
        equivalence(ones, ones, margin=0.1, level=0.7)
    seeded = torch.ones(2, 2, 3)
    with pytest.raises(BadData, match="same model seeds"):
        log_ratio_over_seeds(seeded, seeded[:1], Rng(0))
    with pytest.raises(BadData, match="at least 1, 1 and 2"):
        mean_over_seeds(seeded[..., :1], Rng(0), unit="")
    with pytest.raises(BadData, match="all zero"):
        log_ratio_over_seeds(0 * seeded, seeded, Rng(0))


def test_float32_is_compared_in_float64() -> None:
    x = torch.rand(500, generator=Rng(0).torch())
    quantity = paired_difference(x, x + 1, Rng(0), unit="")
    assert quantity.value == pytest.approx(
        float(np.mean(x.double().numpy()) - np.mean((x + 1).double().numpy()))
    )


def test_a_log_ratio_keeps_images_in_pairs() -> None:
    # one image of each pair is the other's error by its own factor: sorting would hide the factors
    generator = np.random.default_rng(0)
    first = generator.gamma(4, 0.25, 400)
    second = first * np.exp(generator.normal(0, 0.3, 400))
    a, b = (torch.from_numpy(x)[None, None] for x in (first, second))
    paired = log_ratio_over_seeds(a, b, Rng(0))
    whole = ratio_interval(first, second, Rng(0))
    width = np.log(whole.high / whole.low)
    assert paired.value == pytest.approx(np.log(whole.value))
    assert paired.high - paired.low == pytest.approx(width, rel=0.1)
    alike = log_ratio_over_seeds(a, 2 * a, Rng(0))
    assert alike.high - alike.low < 1e-9
