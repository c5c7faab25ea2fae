"""Exact and declared information bounds lie below the exact least error on problems known whole."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from splitveil.errors import BadData, BadInput, BadPlan
from splitveil.estimators import ClassMoments, Moments, Spectrum
from splitveil.measures.information import (
    dithered_bound,
    identification_floor,
    label_side_bound,
    leak_budget,
    mixture_entropy_bounds,
    payload_bound,
    retention,
    shannon_bound,
    spectral_leak_budget,
    water_filled_bound,
)
from splitveil.measures.information.claims import TOO_HIGH
from splitveil.measures.information.identification import _fano
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.rng import Rng
from splitveil.testing.oracles import (
    FiniteAlphabet,
    GaussianMixture,
    LinearGaussian,
    QuantisedUniform,
)

_SLACK = 1e-9
_MANY = settings(max_examples=200, deadline=None, derandomize=True)


def _nats(value: float, direction: Direction = Direction.ESTIMATE) -> Quantity:
    return Quantity.exact(value, unit="nat", kind=Kind.THEOREM, direction=direction)


def _blocks(problem: LinearGaussian, rotation: torch.Tensor) -> list[Quantity]:
    """H(X_j | X_<j) of single values after a rotation: from the diagonal of a Cholesky factor."""
    turned = rotation.T @ problem.covariance @ rotation
    diagonal = torch.linalg.cholesky(turned).diagonal()
    return [_nats(0.5 * math.log(2 * math.pi * math.e) + math.log(float(v))) for v in diagonal]


@given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 10_000), st.floats(0.05, 20.0))
@_MANY
def test_bounds_hold_on_linear_gaussian_problems(d: int, f: int, seed: int, sigma: float) -> None:
    problem = LinearGaussian.random(d, f, Rng(seed), sigma=sigma)
    information = _nats(problem.information)
    shannon = shannon_bound(_nats(problem.prior_entropy), information, dimensions=d)
    assert shannon.value == pytest.approx(problem.entropy_bound, rel=1e-9)
    assert shannon.value <= problem.mmse + _SLACK
    principal = torch.linalg.eigh(problem.covariance).eigenvectors
    turned = torch.linalg.qr(torch.randn(d, d, generator=Rng(seed).torch(), dtype=torch.float64)).Q
    for rotation in (torch.eye(d, dtype=torch.float64), principal, turned):
        bound = water_filled_bound(_blocks(problem, rotation), information, sizes=(1,) * d)
        assert shannon.value - _SLACK <= bound.value <= problem.mmse + _SLACK
        assert bound.kind is Kind.THEOREM
        assert bound.direction is Direction.LOWER
    share = retention(information, dimensions=d).value
    assert shannon.value == pytest.approx(
        share * math.exp(2 * problem.prior_entropy / d) / (2 * math.pi * math.e)
    )


@given(
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(0, 10_000),
    st.floats(0.05, 5.0),
    st.floats(0.1, 5.0),
)
@_MANY
def test_bounds_hold_on_mixtures(k: int, d: int, seed: int, sigma: float, spread: float) -> None:
    problem = GaussianMixture.random(k, d, 1, Rng(seed), sigma=sigma, spread=spread)
    mmse, information = problem.exact()
    low, high = mixture_entropy_bounds(problem.weights, problem.means, problem.covariances)
    assert low.value <= high.value + _SLACK
    shannon = shannon_bound(low, _nats(information), dimensions=d)
    assert shannon.value <= mmse + _SLACK
    assert (shannon.kind, shannon.direction) == (Kind.MODEL, Direction.LOWER)

    entropies = [_nats(float(h)) for h in problem.class_entropies]
    shares = problem.weights.tolist()
    within = _nats(problem.information_given_label)
    known = label_side_bound(entropies, within, shares=shares, dimensions=d)
    assert known.value <= problem.mmse_given_label + _SLACK
    assert known.value <= mmse + _SLACK
    average = sum(p * h.value for p, h in zip(shares, entropies, strict=True))
    plain = shannon_bound(_nats(average), within, dimensions=d)
    assert plain.value <= known.value + _SLACK


@given(st.integers(2, 30), st.integers(1, 12), st.integers(1, 3), st.integers(0, 10_000))
@_MANY
def test_bounds_hold_on_a_grid(k: int, m: int, d: int, seed: int) -> None:
    problem = FiniteAlphabet.random(k, m, d, Rng(seed))
    bound = dithered_bound(_nats(problem.prior_entropy), _nats(problem.information), dimensions=d)
    assert bound.value <= problem.mmse + _SLACK
    even = FiniteAlphabet(
        problem.points,
        torch.full_like(problem.prior, 1 / len(problem.prior)),
        problem.channel,
    )
    assert _fano(even.vulnerability, len(even.prior)) <= even.information + _SLACK


def test_a_unit_problem_gives_a_fifth_by_every_form() -> None:
    eye, zero = torch.eye(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    problem = LinearGaussian(zero, eye, eye, zero, 0.5)
    information, entropy = _nats(problem.information), _nats(problem.prior_entropy)
    filled = water_filled_bound([_nats(entropy.value / 4)] * 4, information, sizes=(1,) * 4)
    known = label_side_bound([entropy] * 2, information, shares=(0.5, 0.5), dimensions=4)
    for bound in (shannon_bound(entropy, information, dimensions=4), filled, known):
        assert bound.value == pytest.approx(0.2, rel=1e-12)
    assert retention(information, dimensions=4).value == pytest.approx(0.2, rel=1e-12)


def test_the_sum_over_values_is_d_times_the_bound() -> None:
    """Per value exp(2h/d) / (2 pi e); the form d / (2 pi e) exp(2h/d) is the sum."""
    problem = QuantisedUniform(7, 3)
    entropy, information = _nats(0.0), _nats(problem.information)
    bound = shannon_bound(entropy, information, dimensions=7)
    assert bound.value == pytest.approx(problem.entropy_bound)
    assert bound.value == pytest.approx(problem.mmse * 12 / (2 * math.pi * math.e))
    assert payload_bound(problem.release(), 7).value == pytest.approx(information.value)


def test_fine_detail_loosens_shannon_but_not_water_filling() -> None:
    """A thousandfold range of variances: all information goes to the few that are worth it."""
    variances = [1.0] * 4 + [1e-3] * 60
    entropies = [_nats(0.5 * math.log(2 * math.pi * math.e * v)) for v in variances]
    information = _nats(3.0)
    whole = shannon_bound(_nats(sum(h.value for h in entropies)), information, dimensions=64)
    filled = water_filled_bound(entropies, information, sizes=(1,) * 64)
    expected = (4 * math.exp(-2 * 3 / 4) + 60 * 1e-3) / 64
    assert filled.value == pytest.approx(expected)
    assert filled.value > 8 * whole.value


def _recoded(problem: LinearGaussian, how: str) -> LinearGaussian:
    f = len(problem.offset)
    if how == "rescaled":
        return LinearGaussian(
            problem.mean, problem.covariance, 7 * problem.matrix, problem.offset, 7 * problem.sigma
        )
    if how == "rotated":
        turn = torch.linalg.qr(torch.randn(f, f, generator=Rng(1).torch(), dtype=torch.float64)).Q
        return LinearGaussian(
            problem.mean, problem.covariance, turn @ problem.matrix, problem.offset, problem.sigma
        )
    blank = problem.matrix.new_zeros(3, problem.dimensions)
    return LinearGaussian(
        problem.mean,
        problem.covariance,
        torch.cat([problem.matrix, blank]),
        torch.cat([problem.offset, problem.offset.new_ones(3)]),
        problem.sigma,
    )


@pytest.mark.parametrize("how", ["rescaled", "rotated", "padded"])
@pytest.mark.parametrize("seed", range(5))
def test_recoding_what_is_sent_moves_no_exact_bound(how: str, seed: int) -> None:
    problem = LinearGaussian.random(5, 4, Rng(seed))
    other = _recoded(problem, how)
    eye = torch.eye(5, dtype=torch.float64)
    first, second = (
        water_filled_bound(_blocks(p, eye), _nats(p.information), sizes=(1,) * 5).value
        for p in (problem, other)
    )
    assert second == pytest.approx(first, rel=1e-9)
    received = [p.matrix @ p.covariance @ p.matrix.T for p in (problem, other)]
    spectra = [Spectrum(torch.linalg.eigvalsh(c).clamp_min(0), 0.0, len(c)) for c in received]
    told = [s.information(p.sigma) for s, p in zip(spectra, (problem, other), strict=True)]
    assert told[0] == pytest.approx(problem.information)
    assert told[1] == pytest.approx(told[0], rel=1e-9)


def test_more_information_never_raises_a_bound_and_all_of_it_leaves_none() -> None:
    entropy = _nats(-2.0)
    values = [
        shannon_bound(entropy, _nats(i), dimensions=3).value for i in (0.0, 1.0, 5.0, math.inf)
    ]
    assert values == sorted(values, reverse=True)
    assert values[-1] == 0
    grid = [dithered_bound(_nats(9.0), _nats(i), dimensions=3).value for i in (0.0, 1.0, 9.0)]
    assert grid == sorted(grid, reverse=True)
    assert grid[-1] == 0
    assert shannon_bound(_nats(-math.inf), _nats(1.0), dimensions=3).value == 0


def test_a_conclusion_claims_no_more_than_its_weakest_part() -> None:
    entropy = Quantity.exact(1.0, unit="nat", kind=Kind.MODEL, assumptions=("declared source",))
    information = Quantity(
        value=2.0,
        low=0.0,
        high=2.0,
        unit="nat",
        kind=Kind.CONFIDENCE,
        n=50,
        direction=Direction.UPPER,
        level=0.9,
        assumptions=("fresh noise",),
    )
    bound = shannon_bound(entropy, information, dimensions=2)
    assert (bound.kind, bound.n) == (Kind.MODEL, 50)
    assert bound.level == pytest.approx(0.9)
    assert bound.assumptions == ("declared source", "fresh noise")
    both = shannon_bound(information, information, dimensions=2)
    assert both.kind is Kind.PROXY  # its entropy is an upper estimate
    certain = shannon_bound(_nats(1.0), information, dimensions=2)
    assert (certain.kind, certain.low, certain.high) == (Kind.CONFIDENCE, certain.value, math.inf)
    assert certain.is_bound
    guess = Quantity.exact(1.0, unit="nat", kind=Kind.MEASURED)
    assert shannon_bound(guess, information, dimensions=2).kind is Kind.PROXY


def test_a_fitted_entropy_is_no_bound_and_says_so() -> None:
    """The Gaussian of the mixture's covariance has too much entropy: its figure tops the truth."""
    half = torch.full((2,), 0.5, dtype=torch.float64)
    means = torch.tensor([[-3.0], [3.0]], dtype=torch.float64)
    narrow = torch.full((2, 1, 1), 0.01, dtype=torch.float64)
    eye, zero = torch.eye(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    problem = GaussianMixture(half, means, narrow, eye, zero, 1.0)
    mmse, information = problem.exact()
    fitted = 0.5 * math.log(2 * math.pi * math.e * float(problem.covariance))
    entropy = _nats(fitted, Direction.UPPER)
    figure = shannon_bound(entropy, _nats(information), dimensions=1)
    assert figure.value > mmse
    assert not figure.is_bound
    assert figure.assumptions[0] == TOO_HIGH
    assert dithered_bound(entropy, _nats(0.0), dimensions=1).assumptions[0] == TOO_HIGH


def test_bounds_refuse_what_would_point_the_wrong_way() -> None:
    low = _nats(1.0, Direction.LOWER)
    with pytest.raises(BadPlan, match="upper bound"):
        shannon_bound(_nats(1.0), low, dimensions=2)
    with pytest.raises(BadPlan, match="upper bound"):
        retention(low, dimensions=2)
    with pytest.raises(BadPlan, match="dimension"):
        shannon_bound(_nats(1.0), _nats(1.0), dimensions=0)
    with pytest.raises(BadPlan, match="dimension"):
        retention(_nats(1.0), dimensions=0)
    with pytest.raises(BadPlan, match="one of each"):
        water_filled_bound([_nats(1.0)], _nats(1.0), sizes=(1, 1))
    with pytest.raises(BadPlan, match="sum to 1"):
        label_side_bound([_nats(1.0)], _nats(1.0), shares=(0.5,), dimensions=1)
    with pytest.raises(BadPlan, match="a class"):
        label_side_bound([], _nats(1.0), shares=(), dimensions=1)
    with pytest.raises(BadPlan, match="positive step"):
        dithered_bound(_nats(1.0), _nats(1.0), dimensions=1, step=0.0)


def test_identification_floor_of_perfect_and_of_lucky_guesses() -> None:
    perfect = identification_floor(10_000, 10_000, candidates=50)
    assert 0.99 * math.log(50) < perfect.value < math.log(50)
    assert (perfect.kind, perfect.direction) == (Kind.CONFIDENCE, Direction.LOWER)
    assert identification_floor(0, 10, candidates=5).value == 0
    assert identification_floor(3, 30, candidates=10).value == 0
    values = [identification_floor(k, 100, candidates=10).value for k in range(101)]
    assert values == sorted(values)
    with pytest.raises(BadData, match="successes"):
        identification_floor(5, 4, candidates=2)
    with pytest.raises(BadPlan, match="candidates"):
        identification_floor(1, 4, candidates=1)


def _moments(scale: float = 1.0) -> Moments:
    generator = Rng(3, ("moments",)).torch()
    y = torch.arange(600) % 5
    centres = torch.randn(5, 40, generator=generator)
    z = scale * (2 * centres[y] + torch.randn(600, 40, generator=generator))
    moments = ClassMoments(5, 40)
    moments.update(z, y, torch.arange(600))
    return moments.result()


def test_leak_budgets_follow_their_formulas() -> None:
    moments = _moments()
    budgets = leak_budget(moments, (0.1, 0.5, 2.0), values=100, scale="absolute")
    for budget, noise in zip(budgets, (0.1, 0.5, 2.0), strict=True):
        total = 20 * math.log1p(moments.values["total"] / (40 * noise**2)) / (100 * math.log(2))
        inner = sum(20 * math.log1p(r / (40 * noise**2)) / 5 for r in moments.class_radii)
        assert budget.overall.value == pytest.approx(total)
        assert budget.by_class is not None
        assert budget.by_class.value == pytest.approx((math.log(5) + inner) / (100 * math.log(2)))
        assert budget.by_class.low < budget.by_class.value < budget.by_class.high
        assert budget.overall.low < budget.overall.value < budget.overall.high
        assert budget.overall.kind is Kind.MODEL
        assert budget.least.value == min(budget.overall.value, budget.by_class.value)
    assert [b.least.value for b in budgets] == sorted(
        (b.least.value for b in budgets), reverse=True
    )


def test_leak_budgets_in_relative_noise_do_not_depend_on_scale() -> None:
    plain, scaled = (leak_budget(_moments(s), (0.1, 0.3, 1.0), values=9) for s in (1.0, 1e3))
    for a, b in zip(plain, scaled, strict=True):
        assert b.noise == pytest.approx(1e3 * a.noise, rel=1e-5)
        assert a.by_class is not None
        assert b.by_class is not None
        assert b.by_class.value == pytest.approx(a.by_class.value, rel=1e-5)


def test_one_image_a_class_keeps_the_entropy_of_the_label() -> None:
    """R_c² = 0 for all, yet the features name the image: log n nats, not none."""
    z = torch.randn(64, 8, generator=Rng(0).torch())
    moments = ClassMoments(65, 8)
    moments.update(
        torch.cat([z, z[:1]]), torch.cat([torch.arange(64), torch.tensor([0])]), torch.arange(65)
    )
    budget = leak_budget(moments.result(), (1e-6, 1e-5, 1e-4), values=1)[0]
    assert budget.by_class is not None
    assert budget.by_class.value * math.log(2) == pytest.approx(math.log(64), abs=0.05)


def test_spectral_budgets_lie_below_their_trace_forms() -> None:
    moments, noises = _moments(), (0.2, 0.5, 1.0)
    total = moments.values["total"]
    uneven = torch.arange(40, 0, -1, dtype=torch.float64)
    whole = Spectrum(total * uneven / uneven.sum(), 0.0, 40)
    inner = [Spectrum(r * uneven / uneven.sum(), 0.0, 40) for r in moments.class_radii]
    spectral = spectral_leak_budget(whole, inner, moments.counts, noises, values=100)
    for a, b in zip(
        spectral, leak_budget(moments, noises, values=100, scale="absolute"), strict=True
    ):
        assert a.overall.value < b.overall.value
        assert a.by_class is not None
        assert b.by_class is not None
        assert a.by_class.value < b.by_class.value
    assert spectral_leak_budget(whole, [], [], noises, values=100)[0].by_class is None


def test_the_class_form_wins_almost_everywhere_for_wide_features() -> None:
    """At high signal to noise and equal radii it wins where S_T / S_W > K^(2/D): 1.0011 here."""
    assert abs(10 ** (2 / 4096) - 1.0011) < 5e-5
    for ratio, wins in ((1.0010, False), (1.0013, True)):
        inner = Spectrum(torch.zeros(0, dtype=torch.float64), 1.0, 4096)
        whole = Spectrum(torch.zeros(0, dtype=torch.float64), ratio, 4096)
        budget = spectral_leak_budget(whole, [inner] * 10, [5] * 10, (1e-4, 1.0, 2.0), values=1)[0]
        assert budget.by_class is not None
        assert (budget.by_class.value < budget.overall.value) is wins


def test_budgets_refuse_what_they_cannot_compare() -> None:
    moments = _moments()
    with pytest.raises(BadPlan, match="at least 3"):
        leak_budget(moments, (0.1, 0.1, 0.2), values=9)
    with pytest.raises(BadPlan, match="at least 3"):
        leak_budget(moments, (0.0, 0.1, 0.2), values=9)
    with pytest.raises(BadPlan, match="input value"):
        leak_budget(moments, (0.1, 0.2, 0.3), values=0)
    still = ClassMoments(2, 3)
    still.update(torch.ones(6, 3), torch.arange(6) % 2, torch.arange(6))
    with pytest.raises(BadData, match="do not vary"):
        leak_budget(still.result(), (0.1, 0.2, 0.3), values=9)
    whole = Spectrum(torch.ones(2, dtype=torch.float64), 0.0, 2)
    with pytest.raises(BadData, match="counts"):
        spectral_leak_budget(whole, [whole], [], (0.1, 0.2, 0.3), values=9)
    one = torch.ones(1, dtype=torch.float64)
    with pytest.raises(BadInput, match="positive definite"):
        mixture_entropy_bounds(one, one[None], -one[None, None])


def test_images_without_labels_have_one_budget() -> None:
    moments = ClassMoments(None, 4)
    moments.update(torch.randn(50, 4, generator=Rng(1).torch()), None, torch.arange(50))
    budget = leak_budget(moments.result(), (0.1, 0.2, 0.3), values=4)[0]
    assert budget.by_class is None
    assert budget.least is budget.overall
