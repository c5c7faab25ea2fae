"""Every theorem bound on 200 random problems of each kind whose exact answer is known."""

import math
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from splitveil.estimators import ClassMoments, Spectrum, trace_information
from splitveil.measures import (
    MixtureSource,
    bayesian_information,
    capacity_bound,
    efroimovich,
    fano_success,
    gaussian_dp_success,
    genie_bound,
    genie_curve,
    genie_metric_bound,
    leak_budget,
    local_dp_success,
    mixture_entropy_bounds,
    pair_ball,
    payload_bound,
    retention,
    shannon_bound,
    spectral_leak_budget,
    van_trees,
    van_trees_trace,
)
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.release import ClippedGaussian
from splitveil.rng import Rng
from splitveil.testing.oracles import (
    FiniteAlphabet,
    FiniteGallery,
    GaussianMixture,
    InvertibleNet,
    LinearGaussian,
    LloydMax,
    QuantisedUniform,
    RandomReLU,
)

F64 = torch.float64
_SLACK = 1e-9
_MANY = 200
_SOME = [40, pytest.param(_MANY, marks=pytest.mark.slow)]


def _allowed(problems: int) -> int:
    return int(stats.binom.ppf(0.999, problems, 0.05))


def _nats(value: float) -> Quantity:
    return Quantity.exact(value, unit="nat", kind=Kind.THEOREM)


def _chance(value: float) -> Quantity:
    return Quantity.exact(value, unit="probability", kind=Kind.THEOREM, direction=Direction.UPPER)


@cache
def _quantiser(levels: int) -> LloydMax:
    return LloydMax(1, levels)


def test_payloads_of_quantisers() -> None:
    """T5: what fits into the bits, and the error that follows, for Gaussian and uniform values."""
    for seed in range(_MANY):
        pick = Rng(seed, ("quantiser",)).numpy()
        d, levels, bits = int(pick.integers(1, 9)), int(pick.integers(2, 17)), 1 + seed % 8
        problem = _quantiser(levels)
        sent = payload_bound(problem.release(), d)
        assert d * problem.information <= sent.value + _SLACK
        entropy = _nats(d * problem.prior_entropy)
        for information in (sent, _nats(d * problem.information)):
            bound = shannon_bound(entropy, information, dimensions=d)
            assert bound.value <= problem.mmse + _SLACK
            assert bound.kind is Kind.THEOREM
        uniform = QuantisedUniform(d, bits)
        payload = payload_bound(uniform.release(), d)
        assert uniform.information <= payload.value + _SLACK
        bound = shannon_bound(_nats(0.0), payload, dimensions=d)
        assert bound.value <= uniform.mmse + _SLACK


def test_chances_of_naming_symbols() -> None:
    """T6: the best guesser of a finite channel, by information and by its privacy parameter."""
    tight = []
    for seed in range(_MANY):
        problem = FiniteAlphabet.random(2 + seed % 20, 1 + seed % 9, 1 + seed % 3, Rng(seed))
        named, blind = problem.vulnerability, _chance(problem.chance)
        told = Quantity.exact(
            problem.information, unit="nat", kind=Kind.THEOREM, direction=Direction.UPPER
        )
        assert named <= fano_success(told, blind).value + _SLACK
        ratio = problem.channel.amax(0) / problem.channel.amin(0)
        private = local_dp_success(float(ratio.log().max()), blind).value
        assert named <= private + _SLACK
        tight.append(named / private)
    assert max(tight) > 0.8


def test_capacity_and_chances_of_naming_points() -> None:
    """T6: points in a ball behind Gaussian noise, their information by quadrature."""
    tight = []
    for seed in range(_MANY):
        problem = FiniteGallery.random(
            2 + seed % 12, 1 + seed % 3, Rng(seed), sigma=(0.3, 1.0, 4.0)[seed % 3]
        )
        _, information = problem.exact()
        capacity = capacity_bound(problem.release(), 1)
        assert information <= capacity.value + _SLACK
        assert capacity.value <= payload_bound(problem.release(), 1).value
        blind, named = _chance(1 / len(problem.points)), problem.identification
        for bound in (
            gaussian_dp_success(problem.release(), blind),
            fano_success(capacity, blind),
        ):
            assert named <= bound.value + _SLACK
            tight.append(named / bound.value)
    assert max(tight) > 0.9


def test_entropies_of_mixtures_between_pairwise_bounds() -> None:
    z = torch.linspace(-60, 60, 6001, dtype=F64)
    for seed in range(_MANY):
        pick = Rng(seed, ("mixture",)).numpy()
        k = int(pick.integers(1, 7))
        weights = torch.from_numpy(pick.dirichlet(np.ones(k)))
        means = torch.from_numpy(pick.normal(0, pick.uniform(0.1, 8), (k, 1)))
        variances = torch.from_numpy(pick.uniform(0.1, 3, k))
        laws = torch.distributions.Normal(means[:, 0], variances.sqrt())
        log_p = (laws.log_prob(z[:, None]) + weights.log()).logsumexp(1)
        exact = -integrate.trapezoid(torch.xlogy(log_p.exp(), log_p.exp()).numpy(), z.numpy())
        low, high = mixture_entropy_bounds(weights, means, variances[:, None, None])
        assert low.value - _SLACK <= exact <= high.value + _SLACK


def test_budgets_lie_above_the_information_through_their_noise() -> None:
    """T1 and T2 with population moments: overall and by class, at three noises."""
    for seed in range(_MANY):
        sigma = (0.2, 1.0, 5.0)[seed % 3]
        mixture = GaussianMixture.random(1 + seed % 5, 3, 1, Rng(seed), sigma=sigma)
        _, information = mixture.exact()
        within = mixture.received_covariances[:, 0, 0] - sigma**2
        total = mixture.matrix @ mixture.covariance @ mixture.matrix.T
        told = [torch.tensor([float(v)], dtype=F64) for v in (total, *within)]
        spectra = [Spectrum(values, 0.0, 1) for values in told]
        label = -float(torch.xlogy(mixture.weights, mixture.weights).sum())
        by_class = label + sum(
            float(p) * s.information(sigma)
            for p, s in zip(mixture.weights, spectra[1:], strict=True)
        )
        budget = spectral_leak_budget(spectra[0], [], [], (sigma, 9.0, 99.0), values=3)[0]
        overall = budget.overall.value * 3 * math.log(2)
        assert information <= min(overall, by_class) + _SLACK
        problem = LinearGaussian.random(1 + seed % 5, 1 + seed % 6, Rng(seed), sigma=sigma)
        received = problem.matrix @ problem.covariance @ problem.matrix.T
        exact = Spectrum(torch.linalg.eigvalsh(received).clamp_min(0), 0.0, len(received))
        trace = Spectrum(torch.zeros(0, dtype=F64), exact.trace / len(received), len(received))
        assert exact.information(sigma) == pytest.approx(problem.information)
        assert problem.information <= trace.information(sigma) + _SLACK


def test_retention_is_what_is_left_of_the_entropy_power() -> None:
    for seed in range(_MANY):
        problem = LinearGaussian.random(1 + seed % 6, 1 + seed % 8, Rng(seed), sigma=0.3 + seed % 5)
        share = retention(_nats(problem.information), dimensions=problem.dimensions).value
        left = math.exp(2 * (problem.entropy - problem.prior_entropy) / problem.dimensions)
        assert share == pytest.approx(left, rel=1e-9)


def test_fisher_forms_of_mixtures() -> None:
    """T2, one feature: below the exact least error, but for the sampling of the prior's own."""
    for seed in range(_MANY):
        sigma = (0.3, 1.0, 3.0)[seed % 3]
        problem = GaussianMixture.random(1 + seed % 4, 1 + seed % 2, 1, Rng(seed), sigma=sigma)
        shape = (problem.dimensions,)
        source = MixtureSource(problem.weights, problem.means, problem.covariances, shape)
        found = bayesian_information(
            problem.partition().features,
            source,
            ClippedGaussian(problem.offset, math.inf, sigma),
            Rng(seed),
            images=120,
            dtype=F64,
        )
        mmse, _ = problem.exact()
        for form in (van_trees, efroimovich, van_trees_trace):
            bound = form(found)
            assert bound.value <= mmse + _SLACK + 1.5 * (bound.high - bound.value)


@pytest.mark.parametrize("problems", _SOME)
@pytest.mark.parametrize("kind", ["mixture", "gallery", "invertible net"])
def test_genie_bounds_rarely_cross_the_least_error(kind: str, problems: int) -> None:
    """T2, T3 and T6: a 95 % bound may fail as often as a binomial does."""
    failed, values = 0, []
    for seed in range(problems):
        rng, sigma = Rng(seed, (kind,)), (0.3, 1.0, 3.0)[seed % 3]
        if kind == "mixture":
            mixed = GaussianMixture.random(2 + seed % 4, 2, 1, rng, sigma=sigma)
            mmse, (x, _) = mixed.exact()[0], mixed.draw(400, rng)
            features, release = x @ mixed.matrix.T + mixed.offset, mixed.release()
        elif kind == "gallery":
            points = FiniteGallery.random(3 + seed % 30, 2, rng, sigma=sigma)
            mmse, (x, _) = points.exact()[0], points.draw(400, rng)
            features, release = x @ points.matrix.T, points.release()
        else:
            net = InvertibleNet.random(1 + seed % 4, 1 + seed % 5, rng, sigma=sigma)
            mmse, x = net.mmse, net.targets(400, rng)
            features, release = net.partition().features(x), net.release()  # type: ignore[assignment]
        bound = genie_bound(x, features, release, rng.child("bound"), draws=1)
        assert bound.is_bound
        failed += bound.value > mmse + _SLACK
        values.append(bound.value / max(mmse, 1e-6))
    assert failed <= _allowed(problems)
    assert max(values) > 0.8


@pytest.mark.parametrize("problems", _SOME)
def test_bounds_of_random_relus_lie_below_the_particles_attack(problems: int) -> None:
    """T4: genie-gallery and van Trees bounds against the error of the particles' own attack."""
    failed = 0
    for seed in range(problems):
        problem = RandomReLU.random(
            1 + seed % 3, 2 + seed % 6, Rng(seed), sigma=(0.5, 1.0, 3.0)[seed % 3]
        )
        _, above = problem.error_between(Rng(seed), sends=160, particles=500)
        x = problem.targets(400, Rng(seed))
        bound = genie_bound(x, problem.head(x), problem.release(), Rng(seed), draws=1)
        failed += bound.value > above.high
        assert problem.van_trees <= above.high
        if seed % 10 == 0:
            d = problem.dimensions
            source = MixtureSource.gaussian(torch.zeros(d, dtype=F64), torch.eye(d, dtype=F64))
            found = bayesian_information(
                problem.head, source, problem.release(), Rng(seed), images=400, dtype=F64
            )
            tree = van_trees(found)
            assert abs(tree.value - problem.van_trees) <= 2.5 * (tree.high - tree.value) + _SLACK
    assert failed <= _allowed(problems)


def _pairs(problems: int = _MANY) -> Iterator[tuple[int, float, float]]:
    for seed in range(problems):
        pick = Rng(seed, ("pairs",)).numpy()
        yield seed, float(pick.uniform(0.3, 2)), float(pick.choice([0.2, 0.7, 2.0]))


def _entropy_of_two(spread: float) -> float:
    """E H(w) of two normal items, feature difference N(0, spread²) in noise deviations."""
    nodes, masses = np.polynomial.hermite_e.hermegauss(80)
    masses = masses / masses.sum()
    apart = spread * nodes[:, None]
    odds = apart**2 / 2 + np.abs(apart) * nodes
    share = special.expit(odds)
    entropy = special.entr(share) + special.entr(1 - share)
    return float(masses @ entropy @ masses)


@pytest.mark.parametrize("problems", _SOME)
def test_anonymity_and_naming_among_two(problems: int) -> None:
    """E max w = ½ + arctan(c) / pi for normal items, c half their typical distance in noise."""
    failed = {"anonymity": 0, "identification": 0}
    for seed, scale, sigma in _pairs(problems):
        x = scale * torch.randn(40, 1, generator=Rng(seed).torch(), dtype=F64)
        release = ClippedGaussian(torch.zeros(1, dtype=F64), math.inf, sigma)
        (point,) = genie_curve(x, x, release, Rng(seed), galleries=20, draws=4)
        apart = math.sqrt(2) * scale / sigma
        named = 0.5 + math.atan(apart / 2) / math.pi
        failed["identification"] += point.identification.value < named
        failed["anonymity"] += point.anonymity.value > math.exp(_entropy_of_two(apart))
        assert point.size == 2
    assert max(failed.values()) <= _allowed(problems)


def test_distances_of_normals() -> None:
    """Posterior N(m, p I): the least mean distance is sqrt(2 p) Gamma((d+1)/2) / Gamma(d/2)."""
    failed, most = 0, 0.0
    for seed, scale, sigma in _pairs():
        d = 1 + seed % 3
        x = scale * torch.randn(400, d, generator=Rng(seed).torch(), dtype=F64)
        release = ClippedGaussian(torch.zeros(d, dtype=F64), math.inf, sigma)
        bound = genie_metric_bound(
            x, x, release, lambda a: torch.cdist(a, a), Rng(seed), unit="value", draws=1
        )
        left = scale**2 * sigma**2 / (scale**2 + sigma**2)
        exact = math.sqrt(2 * left) * math.gamma((d + 1) / 2) / math.gamma(d / 2)
        failed += bound.value > exact
        most = max(most, bound.value / exact)
    assert failed <= _allowed(_MANY)
    assert most > 0.4


def test_blind_guesses_at_normals() -> None:
    """Kappa(r) = 2 Phi(r / s) - 1 for one normal value, guessed at its mean."""
    failed = 0
    for seed, scale, sigma in _pairs():
        x = scale * torch.randn(200, 1, generator=Rng(seed).torch(), dtype=F64)
        radius = 0.3 * sigma
        exact = 2 * stats.norm.cdf(radius / scale) - 1
        found = pair_ball(x, Rng(seed), radius=radius, level=0.95)
        failed += found.value < exact
    assert failed <= _allowed(_MANY)


@pytest.mark.parametrize("shares", [(0.2, 0.2, 0.2, 0.2, 0.2), (0.6, 0.2, 0.1, 0.06, 0.04)])
def test_intervals_of_budgets_cover(shares: tuple[float, ...]) -> None:
    """Population budgets of five classes, from 200 images each time."""
    generator = Rng(1, ("budget",)).torch()
    centres = 2 * torch.randn(5, 8, generator=generator, dtype=F64)
    spread, p, sigma = torch.linspace(0.5, 2, 5, dtype=F64), torch.tensor(shares, dtype=F64), 0.7
    radii = 8 * spread.square()
    apart = (centres - p @ centres).square().sum(1)
    total = float(p @ (radii + apart))
    inner = [trace_information(float(r), 8, sigma) for r in radii]
    truths = {
        "overall": trace_information(total, 8, sigma) / math.log(2),
        "by_class": (float(p @ torch.tensor(inner, dtype=F64)) - float(p @ p.log())) / math.log(2),
    }
    missed = dict.fromkeys(truths, 0)
    for seed in range(80):
        draw = Rng(seed, ("budget",)).torch()
        y = torch.multinomial(p, 200, replacement=True, generator=draw)
        noise = torch.randn(200, 8, generator=draw, dtype=F64)
        moments = ClassMoments(5, 8)
        moments.update(centres[y] + spread[y][:, None] * noise, y, torch.arange(200))
        budget = leak_budget(moments.result(), (sigma, 2.0, 3.0), values=1, scale="absolute")[0]
        for name, truth in truths.items():
            quantity = getattr(budget, name)
            missed[name] += not quantity.low <= truth <= quantity.high
    assert max(missed.values()) <= stats.binom.ppf(0.999, 80, 0.05)
