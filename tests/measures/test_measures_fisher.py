"""Fisher information: equalities on the linear-Gaussian problem, inequalities elsewhere."""

import math

import pytest
import torch
from scipy import integrate, stats
from torch import Tensor, nn

from splitveil.errors import BadData, BadInput, BadModel, BadPlan
from splitveil.estimators.jacobian import jacobian_rows
from splitveil.measures import (
    MixtureSource,
    bayesian_information,
    dfil,
    efroimovich,
    van_trees,
    van_trees_trace,
)
from splitveil.quantities import Direction, Kind
from splitveil.release import ClippedGaussian, DitheredFeatures, Identity, Lattice
from splitveil.rng import Rng
from splitveil.testing.oracles import GaussianMixture, LinearGaussian

F64 = torch.float64


def _source(problem: LinearGaussian) -> MixtureSource:
    return MixtureSource.gaussian(problem.mean, problem.covariance)


@pytest.mark.parametrize("problems", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_forms_are_exact_on_the_linear_gaussian_problem(problems: int) -> None:
    """Van Trees is tight, Efroimovich is the entropy power, the trace form its harmonic mean."""
    for seed in range(problems):
        rng = Rng(seed, ("fisher",))
        problem = LinearGaussian.random(
            1 + seed % 6, 1 + seed % 8, rng, sigma=(0.3, 1.0, 3.0)[seed % 3]
        )
        found = bayesian_information(
            problem.partition().features,
            _source(problem),
            problem.release(),
            rng,
            images=180,
            dtype=F64,
        )
        assert found.exact
        assert van_trees(found).value == pytest.approx(problem.mmse, rel=1e-9)
        assert efroimovich(found).value == pytest.approx(problem.entropy_bound, rel=1e-9)
        assert van_trees_trace(found).value == pytest.approx(problem.van_trees, rel=1e-9)
        assert van_trees(found).kind is Kind.MODEL
        assert not van_trees(found).is_bound
        assert van_trees(found).direction is Direction.LOWER


def test_sends_divide_the_noise() -> None:
    problem = LinearGaussian.random(3, 4, Rng(1), sigma=1.0)
    quieter = LinearGaussian(problem.mean, problem.covariance, problem.matrix, problem.offset, 0.5)
    found = bayesian_information(
        problem.partition().features,
        _source(problem),
        problem.release(),
        Rng(0),
        images=40,
        sends=4,
        dtype=F64,
    )
    assert van_trees(found).value == pytest.approx(quieter.mmse, rel=1e-9)


def test_probes_estimate_the_whole_jacobian() -> None:
    problem = LinearGaussian.random(4, 12, Rng(1), sigma=1.0)
    found = bayesian_information(
        problem.partition().features,
        _source(problem),
        problem.release(),
        Rng(0),
        images=400,
        probes=5,
        dtype=F64,
    )
    assert not found.exact
    for quantity, truth in (
        (van_trees(found), problem.mmse),
        (efroimovich(found), problem.entropy_bound),
        (van_trees_trace(found), problem.van_trees),
    ):
        reach = (quantity.high - quantity.low) / 2
        assert 0 < reach < 0.1 * truth
        assert abs(quantity.value - truth) < 2 * reach


def test_halves_take_off_the_bias_of_few_rows() -> None:
    """The plain inverse of an average of few rows lies above the truth; the value does not."""
    problem = LinearGaussian.random(12, 48, Rng(4), sigma=0.5)
    plain, freed = [], []
    for seed in range(30):
        found = bayesian_information(
            problem.partition().features,
            _source(problem),
            problem.release(),
            Rng(seed),
            images=90,
            probes=4,
            dtype=F64,
        )
        assert found.enough
        plain.append(float(found.matrix.inverse().trace()) / 12)
        freed.append(van_trees(found).value)
    error = float(torch.tensor(freed).std()) / math.sqrt(30)
    assert sum(plain) / 30 > problem.mmse + 4 * error
    assert abs(sum(freed) / 30 - problem.mmse) < 4 * error


def test_few_rows_give_the_trace_form_only() -> None:
    problem = LinearGaussian.random(6, 6, Rng(1), sigma=1.0)
    found = bayesian_information(
        problem.partition().features,
        _source(problem),
        problem.release(),
        Rng(0),
        images=10,
        probes=3,
        dtype=F64,
    )
    assert van_trees(found) == van_trees_trace(found)
    assert any("needs 180 gradient rows" in words for words in van_trees(found).assumptions)
    with pytest.raises(BadPlan, match="180 gradient rows"):
        efroimovich(found)


def test_rescaling_rotating_and_padding_features_changes_nothing() -> None:
    problem = LinearGaussian.random(3, 4, Rng(1), sigma=0.7)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=Rng(2).torch(), dtype=F64)).Q
    others = {
        "scaled": (8 * problem.matrix, 8 * problem.offset, 5.6),
        "turned": (turn @ problem.matrix, problem.offset, 0.7),
        "padded": (torch.cat([problem.matrix, torch.zeros(2, 3, dtype=F64)]), torch.zeros(6), 0.7),
    }
    for matrix, offset, sigma in others.values():
        other = LinearGaussian(problem.mean, problem.covariance, matrix, offset.to(F64), sigma)
        found = bayesian_information(
            other.partition().features,
            _source(other),
            other.release(),
            Rng(0),
            images=60,
            dtype=F64,
        )
        assert van_trees(found).value == pytest.approx(problem.mmse, rel=1e-9)
        assert efroimovich(found).value == pytest.approx(problem.entropy_bound, rel=1e-9)
        x = other.targets(10, Rng(3))
        leak = dfil(other.partition().features, x, other.release(), Rng(0))
        exact = float(problem.matrix.square().sum()) / 0.49 / 3
        assert leak.value == pytest.approx(exact, rel=1e-9)


def _mixture_mmse(mixture: MixtureSource, sigma: float) -> float:
    """Least error of Z = X + s E in one dimension, by quadrature over z."""
    weights = mixture.weights.numpy()
    means = mixture.means[:, 0].numpy()
    variances = mixture.covariances[:, 0, 0].numpy()

    def joint(z: float) -> float:
        parts = weights * stats.norm.pdf(z, means, (variances + sigma**2) ** 0.5)
        gains = variances / (variances + sigma**2)
        centres = means + gains * (z - means)
        second = (parts * (centres**2 + variances - gains * variances)).sum()
        return float(second - (parts * centres).sum() ** 2 / parts.sum())

    return float(integrate.quad(joint, -30, 30, limit=400, points=list(means))[0])


@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0])
def test_mixture_stays_below_its_least_error(sigma: float) -> None:
    mixture = MixtureSource(
        torch.tensor([0.3, 0.7], dtype=F64),
        torch.tensor([[-2.0], [1.5]], dtype=F64),
        torch.tensor([[[0.5]], [[1.2]]], dtype=F64),
        (1,),
    )
    head = nn.Identity()
    release = ClippedGaussian(torch.zeros(1, dtype=F64), math.inf, sigma)
    found = bayesian_information(head, mixture, release, Rng(0), images=20_000, dtype=F64)

    def density(x: float) -> tuple[float, float]:
        spread = mixture.covariances[:, 0, 0].sqrt().numpy()
        parts = mixture.weights.numpy() * stats.norm.pdf(x, mixture.means[:, 0].numpy(), spread)
        slope = (parts * (mixture.means[:, 0].numpy() - x) / spread**2).sum()
        return parts.sum(), slope

    prior = integrate.quad(lambda x: density(x)[1] ** 2 / density(x)[0], -12, 12, limit=400)[0]
    truth = 1 / (prior + 1 / sigma**2)
    quantity = van_trees(found)
    assert abs(quantity.value - truth) < 2 * (quantity.high - quantity.low)
    assert truth < _mixture_mmse(mixture, sigma)
    few = bayesian_information(head, mixture, release, Rng(0), images=29, dtype=F64)
    assert van_trees_trace(few).value < truth  # the cap stands for the average


def test_mixtures_through_linear_maps_stay_below_the_least_error() -> None:
    """Ten classes, d = 6, f = 4: Monte Carlo least error of the oracle, at three noises."""
    for sigma in (0.3, 1.0, 3.0):
        problem = GaussianMixture.random(10, 6, 4, Rng(3), sigma=sigma)
        found = bayesian_information(
            problem.partition().features,
            MixtureSource(problem.weights, problem.means, problem.covariances, (6,)),
            ClippedGaussian(problem.offset, math.inf, sigma),
            Rng(0),
            images=600,
            dtype=F64,
        )
        least, _ = problem.sampled(20_000, Rng(1))
        assert found.enough
        assert van_trees_trace(found).value <= efroimovich(found).value
        assert efroimovich(found).value <= van_trees(found).value < least.low


class _Layer(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        nn.Module.__init__(self)
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) @ self.weight.T).relu()


def test_relu_heads_of_images_stay_below_the_affine_error() -> None:
    """Any attack lies above: here the best affine one, from moments, on a random ReLU layer."""
    head = _Layer(torch.randn(20, 4, generator=Rng(3).torch()))
    x = torch.randn(4000, 1, 2, 2, generator=Rng(4).torch())
    source = MixtureSource.twin(x, noise=0.1)
    release = ClippedGaussian(torch.zeros(20), 1e3, 1.0)
    found = bayesian_information(head, source, release, Rng(0), images=200, probes=8)
    drawn = source.draw(20_000, Rng(5))
    z = release(head(drawn.float()), Rng(6).torch()).double()
    inputs = torch.cat([z, torch.ones(len(z), 1, dtype=F64)], 1)
    answer = inputs @ torch.linalg.lstsq(inputs, drawn.flatten(1)).solution
    affine = float((answer - drawn.flatten(1)).square().mean())
    assert efroimovich(found).value > 0
    assert van_trees_trace(found).value <= van_trees(found).value < affine


def test_twins_have_the_moments_of_the_images() -> None:
    x = torch.randn(4000, 1, 2, 2, generator=Rng(4).torch()) * 0.3
    labels = torch.arange(4000) % 2
    x[labels == 1] += 2
    source = MixtureSource.twin(x, labels, noise=0.1)
    drawn = source.draw(8000, Rng(0))
    assert drawn.shape == (8000, 1, 2, 2)
    torch.testing.assert_close(drawn.mean(0), x.double().mean(0), atol=0.08, rtol=0)
    spread = x.double().var(0) + 0.01
    torch.testing.assert_close(drawn.var(0), spread, atol=0, rtol=0.1)
    numeric = torch.autograd.functional.jacobian(
        lambda one: _log_density(source, one), x[0].flatten().double()
    )
    torch.testing.assert_close(source.score(x[:1].flatten(1))[0], numeric)


def _log_density(source: MixtureSource, x: Tensor) -> Tensor:
    laws = torch.distributions.MultivariateNormal(source.means, source.covariances)
    return torch.logsumexp(laws.log_prob(x) + source.weights.log(), 0)


def test_rows_are_the_jacobian() -> None:
    weight = torch.randn(5, 3, generator=Rng(1).torch())
    rows = jacobian_rows(nn.Linear(3, 5), torch.zeros(2, 3), Rng(0).torch(), probes=99)
    assert rows.shape == (5, 2, 3)
    exact = jacobian_rows(_Layer(weight), torch.ones(1, 3), Rng(0).torch(), probes=5)
    on = (weight.sum(1) > 0)[:, None]
    torch.testing.assert_close(exact[:, 0], torch.where(on, weight, 0.0))


def test_clipping_lets_only_the_direction_through() -> None:
    """Outside the ball the radius is forgotten: J = B (I - u uᵀ) / |z|."""
    release = ClippedGaussian(torch.zeros(2), 1.0, 0.5)
    leak = dfil(nn.Identity(), torch.tensor([[4.0, 0.0], [0.0, 4.0]]), release, Rng(0))
    assert leak.value == pytest.approx((1 / 4) ** 2 / 0.25 / 2, rel=1e-5)


def test_dfil_is_a_proxy_that_says_its_trap() -> None:
    problem = LinearGaussian.random(4, 2, Rng(1), sigma=3.0)
    leak = dfil(
        problem.partition().features, problem.targets(20, Rng(2)), problem.release(), Rng(0)
    )
    assert leak.kind is Kind.PROXY
    assert not leak.is_bound
    assert "unbiased attackers only" in leak.assumptions[0]
    assert 1 / leak.value > float(problem.covariance.trace()) / 4  # the mean image does better


def test_bad_requests_are_refused() -> None:
    problem = LinearGaussian.random(2, 2, Rng(1))
    head, source = problem.partition().features, _source(problem)
    with pytest.raises(BadPlan, match="no information-theoretic guarantee"):
        bayesian_information(head, source, Identity(), Rng(0))
    dithered = DitheredFeatures(Lattice(low=0.0, step=1.0, bits=2))
    with pytest.raises(BadPlan, match="Gaussian noise only"):
        bayesian_information(head, source, dithered, Rng(0))
    with pytest.raises(BadPlan, match="at least 4 images"):
        bayesian_information(head, source, problem.release(), Rng(0), images=3)
    with pytest.raises(BadPlan, match="at least 2 images"):
        dfil(head, problem.targets(1, Rng(0)), problem.release(), Rng(0))
    broken = _Layer(torch.full((2, 2), math.nan, dtype=F64))
    with pytest.raises(BadData, match="NaN"):
        bayesian_information(broken, source, problem.release(), Rng(0), dtype=F64)
    x = torch.zeros(4, 2)
    release = ClippedGaussian(torch.zeros(2), 1.0, 1.0)
    with pytest.raises(BadModel, match="no gradient"):
        dfil(lambda some: some.detach(), x, release, Rng(0))
    assert dfil(nn.Tanh(), x, release, Rng(0)).value == pytest.approx(1.0)
    assert dfil(lambda some: 0 * some, x, release, Rng(0)).value == 0
    with pytest.raises(BadInput, match="noise of a twin"):
        MixtureSource.twin(x, noise=0.0)
    with pytest.raises(BadInput, match="one of each"):
        MixtureSource.twin(x, torch.zeros(3, dtype=torch.int64), noise=1.0)
    with pytest.raises(BadInput, match="positive definite"):
        MixtureSource.gaussian(torch.zeros(2, dtype=F64), torch.zeros(2, 2, dtype=F64))
    one, eye = torch.ones(1, dtype=F64), torch.eye(2, dtype=F64)[None]
    with pytest.raises(BadInput, match="sum to 1"):
        MixtureSource(0.5 * one, torch.zeros(1, 2, dtype=F64), eye, (2,))
    with pytest.raises(BadInput, match="does not hold"):
        MixtureSource(one, torch.zeros(1, 2, dtype=F64), eye, (3,))
    with pytest.raises(BadInput, match="need 1 weights"):
        MixtureSource(torch.full((2,), 0.5, dtype=F64), torch.zeros(1, 2, dtype=F64), eye, (2,))
