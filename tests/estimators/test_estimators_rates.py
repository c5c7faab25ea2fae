"""Water-filling, mixture entropies, log-determinants and averages against second methods."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from splitveil.errors import BadData, BadInput
from splitveil.estimators.concentration import bernstein_upper
from splitveil.estimators.leave_one_out import leave_one_out
from splitveil.estimators.log_det import (
    Spectrum,
    ladder_spectrum,
    oas_spectrum,
    sample_spectrum,
    top_directions,
    trace_information,
)
from splitveil.estimators.marginals import (
    ClassMixture,
    DiagonalGaussian,
    LowRankGaussian,
    fit_class_mixture,
    fit_low_rank,
)
from splitveil.estimators.mixture_entropy import mixture_entropy
from splitveil.estimators.water_filling import water_filling
from splitveil.rng import Rng

_BLOCKS = st.lists(st.tuples(st.floats(1e-6, 1e3), st.floats(0.5, 50.0)), min_size=1, max_size=12)


def _normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=Rng(seed, ("normal",)).torch(), dtype=torch.float64)


@given(_BLOCKS, st.floats(0, 100))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_water_filling_spends_the_budget_at_one_level(
    blocks: list[tuple[float, float]], information: float
) -> None:
    powers, sizes = [b[0] for b in blocks], [b[1] for b in blocks]
    filled = water_filling(powers, sizes, information)
    assert sum(filled.rates) == pytest.approx(information, rel=1e-9, abs=1e-9)
    assert filled.errors == pytest.approx([min(p, filled.level) for p in powers])
    left = [p * math.exp(-2 * r / k) for p, r, k in zip(powers, filled.rates, sizes, strict=True)]
    assert left == pytest.approx(list(filled.errors), rel=1e-9)

    def spent(log_level: float) -> float:
        over = np.maximum(0, np.log(powers) - log_level)
        return float(np.dot(np.array(sizes) / 2, over)) - information

    if information > 1e-6:
        top = math.log(max(powers))
        level = optimize.brentq(spent, top - 2 * information / min(sizes) - 1, top, xtol=1e-13)
        assert math.log(filled.level) == pytest.approx(level, abs=1e-8)


@given(_BLOCKS, st.floats(0, 100), st.floats(0, 100), st.integers(0, 99))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_water_filling_is_monotone_and_no_rates_do_better(
    blocks: list[tuple[float, float]], information: float, more: float, seed: int
) -> None:
    powers, sizes = np.array([b[0] for b in blocks]), np.array([b[1] for b in blocks])

    def total(budget: float, scale: float = 1.0) -> float:
        return float(
            sizes @ water_filling((scale * powers).tolist(), sizes.tolist(), budget).errors
        )

    best = total(information)
    assert total(information + more) <= best * (1 + 1e-12)
    assert total(information, 3.0) == pytest.approx(3 * best, rel=1e-9)
    assert total(0.0) == pytest.approx(float(sizes @ powers))
    assert total(math.inf) == 0
    shares = Rng(seed).numpy().dirichlet(np.ones(len(powers)))
    other = float(sizes @ (powers * np.exp(-2 * information * shares / sizes)))
    assert best <= other * (1 + 1e-9)


def test_water_filling_leaves_empty_blocks_dry_and_refuses_nonsense() -> None:
    filled = water_filling([0.0, 2.0, 0.0], [1.0, 2.0, 5.0], 3.0)
    assert filled.errors == pytest.approx((0, 2 * math.exp(-3), 0))
    assert filled.rates == pytest.approx((0, 3, 0))
    assert water_filling([0.0], [1.0], 1.0).errors == (0,)
    for powers, sizes, information in (
        ([], [], 1.0),
        ([1.0], [1.0, 2.0], 1.0),
        ([-1.0], [1.0], 1.0),
        ([math.nan], [1.0], 1.0),
        ([1.0], [0.0], 1.0),
        ([1.0], [1.0], -1.0),
        ([1.0], [1.0], math.nan),
    ):
        with pytest.raises(BadInput):
            water_filling(powers, sizes, information)


def _mixture(seed: int, k: int, m: int, spread: float) -> tuple[torch.Tensor, ...]:
    factor = _normal(k, m, m, seed=seed)
    covariances = factor @ factor.mT / m + 0.2 * torch.eye(m, dtype=torch.float64)
    weights = _normal(k, seed=seed + 1).softmax(0)
    return weights, spread * _normal(k, m, seed=seed + 2), covariances


@pytest.mark.parametrize(("seed", "spread"), [(s, w) for s in range(10) for w in (0.1, 1.0, 5.0)])
def test_mixture_bounds_hold_the_entropy_found_by_quadrature(seed: int, spread: float) -> None:
    weights, means, covariances = _mixture(seed, 2 + seed % 5, 1, spread)
    z = torch.linspace(-60, 60, 200_001, dtype=torch.float64)
    deviations = covariances[:, 0, 0].sqrt()
    density = torch.zeros_like(z)
    for p, mean, deviation in zip(weights, means[:, 0], deviations, strict=True):
        density += (
            p
            * torch.exp(-0.5 * ((z - mean) / deviation) ** 2)
            / (deviation * math.sqrt(2 * math.pi))
        )
    entropy = -float(torch.trapezoid(torch.xlogy(density, density), z))
    found = mixture_entropy(weights, means, covariances)
    assert max(found.bhattacharyya_lower, found.huber_lower) <= entropy + 1e-9
    assert entropy <= min(found.kl_upper, found.huber_upper) + 1e-9
    assert found.low <= found.high


def test_mixture_bounds_meet_for_one_component_and_for_components_far_apart() -> None:
    _, means, covariances = _mixture(3, 4, 6, 1.0)
    one = torch.ones(1, dtype=torch.float64)
    alone = mixture_entropy(one, means[:1], covariances[:1])
    exact = 0.5 * float((2 * math.pi * math.e * covariances[0]).logdet())
    for bound in (alone.bhattacharyya_lower, alone.kl_upper, alone.huber_upper):
        assert bound == pytest.approx(exact)
    quarter = torch.full((4,), 0.25, dtype=torch.float64)
    apart = mixture_entropy(quarter, 1e3 * means, covariances)
    assert apart.bhattacharyya_lower == pytest.approx(apart.kl_upper)
    assert apart.kl_upper == pytest.approx(apart.huber_upper)


def test_one_shared_covariance_is_that_covariance_for_each() -> None:
    weights, means, covariances = _mixture(5, 6, 4, 1.0)
    each = mixture_entropy(weights, means, covariances[:1].expand(6, -1, -1))
    shared = mixture_entropy(weights, means, covariances[:1])
    assert vars(shared) == pytest.approx(vars(each))


def test_bad_mixtures_are_refused() -> None:
    weights, means, covariances = _mixture(5, 3, 2, 1.0)
    with pytest.raises(BadInput, match="one"):
        mixture_entropy(weights, means[:2], covariances)
    with pytest.raises(BadInput, match="sum to 1"):
        mixture_entropy(2 * weights, means, covariances)
    with pytest.raises(BadInput, match="positive definite"):
        mixture_entropy(weights, means, -covariances)


def _power_law(n: int, dimensions: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features with eigenvalues i**-1.2, turned at random, and these eigenvalues."""
    values = torch.arange(1, dimensions + 1, dtype=torch.float64) ** -1.2
    rotation = torch.linalg.qr(_normal(dimensions, dimensions, seed=9)).Q
    return (_normal(n, dimensions, seed=seed) * values.sqrt()) @ rotation.T, values


@pytest.mark.parametrize("n", [20, 60, 400])
def test_sample_spectrum_is_that_of_the_covariance(n: int) -> None:
    z, _ = _power_law(n, 60)
    spectrum = sample_spectrum(z)
    covariance = z.T.cov(correction=0)
    eye = torch.eye(60, dtype=torch.float64)
    assert spectrum.information(0.3) == pytest.approx(
        0.5 * float((eye + covariance / 0.09).logdet()), rel=1e-9
    )
    assert spectrum.trace == pytest.approx(float(covariance.trace()))
    assert spectrum.information(0.3) <= trace_information(spectrum.trace, 60, 0.3)


_QUIET = math.sqrt(1e-3)


@pytest.mark.parametrize(
    ("n", "plug_in", "shrunk"), [(20, 46, 241), (50, 87, 207), (100, 127, 195), (400, 178, 190)]
)
def test_published_biases_of_a_power_law_in_200_dimensions(
    n: int, plug_in: float, shrunk: float
) -> None:
    """Figures of one run each, given to whole nats: they lie within 3 of our deviations a run."""
    truth = Spectrum(_power_law(2, 200)[1], 0.0, 200)
    assert truth.information(_QUIET) == pytest.approx(195.3, abs=0.05)
    assert 300 <= trace_information(truth.trace, 200, _QUIET) <= 304
    samples = [sample_spectrum(_power_law(n, 200, seed)[0]) for seed in range(10)]
    for values, published in (
        ([sample.information(_QUIET) for sample in samples], plug_in),
        ([oas_spectrum(sample, n - 1).information(_QUIET) for sample in samples], shrunk),
    ):
        assert abs(np.mean(values) - published) <= 3 * np.std(values, ddof=1) + 0.5
    assert max(sample.information(_QUIET) for sample in samples) < 195.3


@pytest.mark.parametrize(("m", "top", "random"), [(20, 213.1, 297), (80, 196.9, 268.4)])
def test_published_rungs_of_the_ladder(m: int, top: float, random: float) -> None:
    """Principal directions tighten the trace form, random ones hardly: at the true covariance."""
    values = _power_law(2, 200)[1]
    rung = Spectrum(values[:m], float(values[m:].mean()), 200)
    assert rung.information(_QUIET) == pytest.approx(top, abs=0.06)
    covariance, found = values.diag(), []
    for seed in range(10):
        basis = torch.linalg.qr(_normal(200, m, seed=seed)).Q
        inside = basis.T @ covariance @ basis
        rest = float(values.sum() - inside.trace()) / (200 - m)
        found.append(Spectrum(torch.linalg.eigvalsh(inside), rest, 200).information(_QUIET))
    assert abs(np.mean(found) - random) <= 3 * np.std(found, ddof=1) + 0.5


def test_directions_of_other_images_keep_the_ladder_above_the_truth() -> None:
    truth = Spectrum(_power_law(2, 120)[1], 0.0, 120).information(_QUIET)
    for seed in range(5):
        directions = top_directions(_power_law(300, 120, 100 + seed)[0], 24)
        fresh = ladder_spectrum(_power_law(4000, 120, 200 + seed)[0], directions)
        trace = trace_information(fresh.trace, 120, _QUIET)
        assert truth < fresh.information(_QUIET) < trace


def test_the_ladder_runs_from_the_trace_to_the_exact_value() -> None:
    z, _ = _power_law(500, 30)
    directions = top_directions(_power_law(500, 30, 1)[0], 30)
    rungs = [ladder_spectrum(z, directions[:, :m]).information(0.5) for m in range(31)]
    sample = sample_spectrum(z)
    assert rungs[0] == pytest.approx(trace_information(sample.trace, 30, 0.5))
    assert rungs[30] == pytest.approx(sample.information(0.5))
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(rungs))


@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 10_000), st.floats(0.05, 5))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_the_ladder_lies_above_the_determinant_in_any_directions(
    dimensions: int, rank: int, seed: int, noise: float
) -> None:
    z = _normal(40, dimensions, seed=seed) @ _normal(dimensions, dimensions, seed=seed + 1)
    basis = torch.linalg.qr(_normal(dimensions, dimensions, seed=seed + 2)).Q
    bound = ladder_spectrum(z, basis[:, : min(rank, dimensions)]).information(noise)
    assert bound >= sample_spectrum(z).information(noise) - 1e-9


@pytest.mark.parametrize("shape", [(30, 80), (80, 30)])
def test_top_directions_hold_the_most_variance(shape: tuple[int, int]) -> None:
    z = _power_law(shape[0], shape[1])[0]
    found = top_directions(z, 10)
    eye = torch.eye(10, dtype=torch.float64)
    assert torch.allclose(found.T @ found, eye, atol=1e-9)
    held = float(((z - z.mean(0)) @ found).square().sum()) / len(z)
    assert held == pytest.approx(float(sample_spectrum(z).values[-10:].sum()))
    assert top_directions(z, 0).shape == (shape[1], 0)
    assert top_directions(z, 1000).shape[1] == min(shape[0] - 1, shape[1])


def test_shrinkage_keeps_the_trace_and_an_even_spectrum() -> None:
    sample = sample_spectrum(_power_law(20, 50)[0])
    shrunk = oas_spectrum(sample, 19)
    assert shrunk.trace == pytest.approx(sample.trace)
    even = Spectrum(torch.full((50,), 2.0, dtype=torch.float64), 0.0, 50)
    assert oas_spectrum(even, 19).information(1.0) == pytest.approx(even.information(1.0))


def test_no_noise_and_too_few_images_are_refused() -> None:
    z, _ = _power_law(20, 5)
    with pytest.raises(BadInput, match="noise"):
        sample_spectrum(z).information(0.0)
    with pytest.raises(BadData, match="at least 2"):
        sample_spectrum(z[:1])
    with pytest.raises(BadData, match="at least 2"):
        top_directions(z[:1], 1)
    with pytest.raises(BadInput, match="directions of"):
        ladder_spectrum(z, torch.zeros(3, 1, dtype=torch.float64))


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (0.05, 2.0), (5.0, 0.3)])
def test_bernstein_end_misses_no_more_often_than_it_says(a: float, b: float) -> None:
    generator = Rng(7, (str(a),)).numpy()
    draws = torch.from_numpy(generator.beta(a, b, (400, 60)))
    missed = sum(bernstein_upper(row, 0.0, 1.0, level=0.9) < a / (a + b) for row in draws)
    assert missed <= stats.binom.ppf(0.999, 400, 0.1)
    wide = torch.from_numpy(generator.beta(a, b, 100_000))
    assert bernstein_upper(wide, 0.0, 1.0) == pytest.approx(float(wide.mean()), abs=0.005)


def test_bernstein_end_pays_for_the_spread_of_many_coins() -> None:
    """With 5000 even coins the term of the range alone would miss four times in ten."""
    draws = torch.randint(0, 2, (300, 5000), generator=Rng(2).torch()).double()
    missed = sum(bernstein_upper(row, 0.0, 1.0, level=0.9) < 0.5 for row in draws)
    assert missed <= stats.binom.ppf(0.999, 300, 0.1)
    assert bernstein_upper(draws[0], 0.0, 1.0, level=0.9) < 0.55


def test_bernstein_end_refuses_what_it_cannot_judge() -> None:
    values = torch.tensor([0.1, 0.2, 1.5], dtype=torch.float64)
    with pytest.raises(BadData, match="outside"):
        bernstein_upper(values, 0.0, 1.0)
    with pytest.raises(BadData, match="at least 2"):
        bernstein_upper(values[:1], 0.0, 1.0)


def test_leave_one_out_by_its_definition() -> None:
    scores = _normal(5, 5)
    lower, upper = leave_one_out(scores)
    p = scores.exp()
    for i in range(5):
        others = [float(p[i, j]) for j in range(5) if j != i]
        assert float(lower[i]) == pytest.approx(math.log(float(p[i, i]) / float(p[i].mean())))
        assert float(upper[i]) == pytest.approx(math.log(float(p[i, i]) / np.mean(others)))
    assert float(lower.max()) <= math.log(5)
    with pytest.raises(BadData, match="at least 2"):
        leave_one_out(scores[:1, :1])
    with pytest.raises(BadData, match="no density"):
        leave_one_out(torch.full((2, 2), -math.inf, dtype=torch.float64))


def test_marginals_are_the_densities_they_say() -> None:
    z = _normal(7, 5)
    mean, variances = _normal(5, seed=1), _normal(5, seed=2).exp()
    diagonal = DiagonalGaussian(mean, variances)
    reference = stats.multivariate_normal(mean.numpy(), np.diag(variances.numpy()))
    assert diagonal.log_density(z).numpy() == pytest.approx(reference.logpdf(z.numpy()))
    basis = torch.linalg.qr(_normal(5, 5, seed=3)).Q
    for rank in (0, 2, 5):
        p, v = basis[:, :rank], variances[:rank]
        low_rank = LowRankGaussian(mean, p, v, 0.3)
        covariance = p @ torch.diag(v) @ p.T
        covariance = covariance + 0.3 * (torch.eye(5, dtype=torch.float64) - p @ p.T)
        exact = stats.multivariate_normal(mean.numpy(), covariance.numpy())
        assert low_rank.log_density(z).numpy() == pytest.approx(exact.logpdf(z.numpy()))
        assert low_rank.least == pytest.approx(float(torch.linalg.eigvalsh(covariance)[0]))


def test_class_densities_mix_and_split() -> None:
    y = torch.arange(400) % 3
    z = _normal(400, 6) + 4 * _normal(3, 6, seed=1)[y]
    _, mixture = fit_class_mixture(
        z[:200], y[:200], z[200:], y[200:], classes=4, ranks=(0, 2), floor=1e-9
    )
    assert isinstance(mixture, ClassMixture)
    each = torch.stack([mixture.classes.log_density(z, torch.full((400,), c)) for c in range(4)], 1)
    assert torch.allclose(
        mixture.log_density(z), (each + mixture.log_shares).logsumexp(1), atol=1e-8
    )
    own = mixture.classes.log_density(z, y).mean()
    assert own > fit_low_rank(z[:200], z[200:], (2,), 1e-9)[0].log_density(z).mean() + 1
    with pytest.raises(BadData, match="needs labels"):
        mixture.classes.log_density(z)
    with pytest.raises(BadData, match="at least 2"):
        fit_low_rank(z, z[:1], (2,), 1e-9)
