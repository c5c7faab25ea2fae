"""Chances of landing near an image or naming it: closed forms, and attacks that stay below."""

import math

import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.measures import (
    bayes_identification,
    capacity_bound,
    fano_success,
    gaussian_dp_success,
    kl_inverse,
    local_dp_success,
    pair_ball,
    success_error,
)
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.release import ClippedGaussian, DitheredFeatures, Identity, Lattice, parse_release
from splitveil.rng import Rng

RADIUS, SIGMA, NEAR = 1.0, 2.0, 0.4
BALL = ClippedGaussian(torch.zeros(3), RADIUS, SIGMA)


def _ball(n: int, seed: int = 0) -> Tensor:
    """Uniform in the unit ball of three dimensions."""
    generator = Rng(seed, ("ball",)).torch()
    direction = torch.randn(n, 3, generator=generator)
    length = torch.rand(n, 1, generator=generator) ** (1 / 3)
    return length * direction / direction.norm(dim=1, keepdim=True)


def _euclid(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).norm(dim=1)


def _chance(value: float) -> Quantity:
    return Quantity.exact(value, unit="probability", kind=Kind.THEOREM, direction=Direction.UPPER)


def test_the_ball_gives_the_figures_of_the_theory() -> None:
    """D = 3, B = 1, s = 2, r = .4: kappa .064 -> .153; pair-ball .539 -> .725 and .775."""
    blind = _chance(NEAR**3)
    assert gaussian_dp_success(BALL, blind).value == pytest.approx(0.153, abs=5e-4)
    within = (2 * NEAR) ** 3 * (1 - 9 * 2 * NEAR / 16 + (2 * NEAR) ** 3 / 32)
    paired = _chance(math.sqrt(within))
    assert paired.value == pytest.approx(0.539, abs=1e-3)
    assert gaussian_dp_success(BALL, paired).value == pytest.approx(0.725, abs=1e-3)
    information = capacity_bound(BALL, 3)
    assert fano_success(information, paired).value == pytest.approx(0.775, abs=1e-3)
    found = pair_ball(_ball(40_000), Rng(0), radius=NEAR, distance=_euclid)
    assert paired.value < found.value < paired.value + 0.01
    assert found.is_bound


def test_attacks_on_the_ball_stay_below() -> None:
    """Answers of every length in the direction seen: the best attack is quoted at .103."""
    x = _ball(200_000, seed=1)
    z = BALL(x, Rng(2).torch())
    bound = gaussian_dp_success(BALL, _chance(NEAR**3)).value
    toward = z / z.norm(dim=1, keepdim=True)
    shares = [
        float((_euclid(length * toward, x) <= NEAR).double().mean())
        for length in (0.0, 0.4, 0.5, 0.6, 0.65, 0.7, 1.0)
    ]
    assert abs(max(shares) - 0.103) <= 3 * math.sqrt(0.103 * 0.897 / len(x))
    assert max(shares) < bound


def test_more_sends_help_the_attacker() -> None:
    blind = _chance(0.01)
    one, four = (gaussian_dp_success(BALL, blind, sends=n).value for n in (1, 4))
    assert one < four
    louder = ClippedGaussian(torch.zeros(3), RADIUS, 2 * SIGMA)
    assert gaussian_dp_success(louder, blind, sends=4).value == pytest.approx(one)
    assert gaussian_dp_success(BALL, _chance(0.0)).value == 0
    assert gaussian_dp_success(BALL, _chance(1.0)).value == 1


def test_rescaling_features_and_noise_together_changes_nothing() -> None:
    scaled = ClippedGaussian(torch.zeros(3), 7 * RADIUS, 7 * SIGMA)
    blind = _chance(0.01)
    assert gaussian_dp_success(scaled, blind).value == pytest.approx(
        gaussian_dp_success(BALL, blind).value
    )


def test_randomised_response_meets_the_local_bound() -> None:
    """One of N answers kept with chance e^eps / (e^eps + N - 1), never above e^eps / N."""
    for options in (2, 10, 100):
        for epsilon in (0.0, 0.5, 2.0):
            kept = math.exp(epsilon) / (math.exp(epsilon) + options - 1)
            bound = local_dp_success(epsilon, _chance(1 / options)).value
            assert kept <= bound + 1e-12
            assert bound == pytest.approx(min(1, math.exp(epsilon) / options))
    assert local_dp_success(1.0, _chance(0.01), sends=2).value == pytest.approx(0.01 * math.exp(2))
    assert local_dp_success(1e6, _chance(0.01)).value == 1
    assert local_dp_success(1e6, _chance(0.0)).value == 0


@pytest.mark.parametrize("chance", [1e-6, 0.064, 0.539, 0.99])
@pytest.mark.parametrize("nats", [1e-4, 0.1, 1.0, 10.0])
def test_kl_inverse_inverts(chance: float, nats: float) -> None:
    p = kl_inverse(chance, nats)
    assert chance <= p <= 1
    if p < 1:
        back = p * math.log(p / chance) + (1 - p) * math.log((1 - p) / (1 - chance))
        assert back == pytest.approx(nats, rel=1e-4)
    else:
        assert nats >= -math.log(chance) * 0.999


def test_kl_inverse_at_the_ends() -> None:
    assert kl_inverse(0.0, 5.0) == 0
    assert kl_inverse(1.0, 0.0) == 1
    assert kl_inverse(0.3, math.inf) == 1
    for chance, nats in ((1.5, 0.0), (0.5, -1.0), (0.5, math.nan)):
        with pytest.raises(BadPlan, match="a chance lies in"):
            kl_inverse(chance, nats)


def test_pair_ball_rarely_misses() -> None:
    """Uniform on [0, 1]: kappa(r) = 2 r exactly, the pair bound above it nearly always."""
    missed = 0
    for seed in range(60):
        x = torch.rand(100, 1, generator=Rng(seed).torch())
        missed += pair_ball(x, Rng(seed), radius=0.05).value < 0.1
    assert missed <= stats.binom.ppf(0.999, 60, 0.05)
    alike = torch.zeros(10, 2)
    assert pair_ball(alike, Rng(0), radius=0.0).value == 1


def _uniform_mmse(sigma: float) -> float:
    """Least error of Z = X + s E, X uniform on [-1, 1], by quadrature over z."""

    def weighted(z: float) -> float:
        a, b = (-1 - z) / sigma, (1 - z) / sigma
        mass = stats.norm.cdf(b) - stats.norm.cdf(a)
        if mass < 1e-300:
            return 0.0
        return float(stats.truncnorm.var(a, b, loc=z, scale=sigma) * mass / 2)

    return float(integrate.quad(weighted, -1 - 6 * sigma, 1 + 6 * sigma, limit=200)[0])


@pytest.mark.parametrize("sigma", [0.5, 2.0, 8.0])
def test_least_error_lies_below_the_exact_one(sigma: float) -> None:
    x = 2 * torch.rand(4000, 1, generator=Rng(1).torch()) - 1
    release = ClippedGaussian(torch.zeros(1), 1.0, sigma)
    exact = _uniform_mmse(sigma)
    for radii in ((), (0.1, 0.2, 0.3)):
        bound = success_error(x, 1, release, Rng(0), radii=radii)
        assert bound.is_bound
        assert 0 <= bound.value < exact
    if sigma == 8.0:
        assert success_error(x, 1, release, Rng(0)).value > 0.01


def test_least_errors_of_many_problems_are_rarely_crossed() -> None:
    """200 problems of 1 to 3 independent uniform values: each has the least error of one."""
    exact = {sigma: _uniform_mmse(sigma) for sigma in (0.5, 1.0, 3.0, 9.0)}
    failed = 0
    for seed in range(200):
        d, sigma = 1 + seed % 3, list(exact)[seed % 4]
        x = 2 * torch.rand(300, d, generator=Rng(seed).torch()) - 1
        release = ClippedGaussian(torch.zeros(d), math.sqrt(d), sigma)
        bound = success_error(x, d, release, Rng(seed), radii=(0.05, 0.2, 0.4))
        failed += bound.value > exact[sigma] + 1e-9
    assert failed <= stats.binom.ppf(0.999, 200, 0.05)


def test_fano_serves_where_the_ball_is_infinite() -> None:
    """A dithered release has no ball, but a payload: one bit a value."""
    x = torch.rand(20_000, 1, generator=Rng(1).torch())
    release = DitheredFeatures(Lattice(low=0.0, step=1.0, bits=1))
    assert gaussian_dp_success(release, _chance(0.01)).value == 1
    bound = success_error(x, 1, release, Rng(0), radii=(0.02, 0.05))
    assert 0 < bound.value < 1 / 12


def test_two_images_are_told_apart_as_often_as_a_test_allows() -> None:
    """Galleries of two at distance a sqrt(2): a test is right with chance Phi(a / (s sqrt 2))."""
    features = 3 * torch.eye(40)
    release = ClippedGaussian(torch.zeros(40), 100.0, 2.0)
    found = bayes_identification(features, release, Rng(0), draws=400)
    exact = stats.norm.cdf(3 / (2 * math.sqrt(2)))
    assert exact < found.value < exact + 0.01
    assert (found.kind, found.direction) == (Kind.CONFIDENCE, Direction.UPPER)
    drowned = ClippedGaussian(torch.zeros(40), 100.0, 1e5)
    assert bayes_identification(features, drowned, Rng(0)).value == pytest.approx(0.5, abs=1e-3)
    silent = ClippedGaussian(torch.zeros(40), 100.0, 1e-3)
    assert bayes_identification(features, silent, Rng(0)).value == 1


def test_deterministic_releases_are_given_nothing() -> None:
    x = torch.rand(100, 4, generator=Rng(1).torch())
    quantised = parse_release("quantise(bits=1)").fit(x)
    for release in (Identity(), quantised):
        named = bayes_identification(x, release, Rng(0))
        error = success_error(x, 4, release, Rng(0))
        success = gaussian_dp_success(release, _chance(0.1))
        assert (named.value, error.value, success.value) == (1, 0, 1)
        for quantity in (named, error, success):
            assert any("no information-theoretic guarantee" in a for a in quantity.assumptions)


def test_levels_add_up() -> None:
    kappa = pair_ball(_ball(1000), Rng(0), radius=NEAR, distance=_euclid, level=0.99)
    information = Quantity(
        value=0.1,
        low=0.0,
        high=0.1,
        unit="nat per image",
        kind=Kind.CONFIDENCE,
        n=5,
        direction=Direction.UPPER,
        level=0.97,
    )
    both = fano_success(information, kappa)
    assert both.level == pytest.approx(0.96)
    assert both.kind is Kind.CONFIDENCE


def test_bad_requests_are_refused() -> None:
    x = _ball(10)
    with pytest.raises(BadPlan, match="radius must be"):
        pair_ball(x, Rng(0), radius=-1.0)
    with pytest.raises(BadData, match="at least two"):
        pair_ball(x[:1], Rng(0), radius=1.0)
    with pytest.raises(BadData, match="NaN"):
        pair_ball(x * math.nan, Rng(0), radius=1.0)
    with pytest.raises(BadPlan, match="sends must be"):
        gaussian_dp_success(BALL, _chance(0.1), sends=0)
    with pytest.raises(BadPlan, match="epsilon must be"):
        local_dp_success(-1.0, _chance(0.1))
    with pytest.raises(BadPlan, match="radii must be positive"):
        success_error(x, 3, BALL, Rng(0), radii=(0.0,))
    guess = Quantity.exact(0.1, unit="probability", kind=Kind.PROXY, direction=Direction.UPPER)
    with pytest.raises(BadPlan, match="upper bounds only"):
        gaussian_dp_success(BALL, guess)
