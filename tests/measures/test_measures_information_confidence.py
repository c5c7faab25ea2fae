"""Fitted information bounds miss no more often than they say, however poor the fit."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.measures.information import (
    capacity_bound,
    dithered_bound,
    entropy_floor,
    identification_floor,
    leave_one_out_bounds,
    log_det_bound,
    log_det_estimates,
    payload_bound,
    redundancy_bound,
    variational_bound,
)
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.release import ClippedGaussian, DitheredFeatures, Lattice, parse_release
from splitveil.rng import Rng
from splitveil.testing.conformance.measures import MeasureCase, MeasureConformance
from splitveil.testing.oracles import GaussianMixture, LinearGaussian

_FAR = 1e3  # so many deviations away that clipping there changes no exact number


def _allowed(trials: int, level: float) -> float:
    return float(stats.binom.ppf(0.999, trials, 1 - level))


def _linear(seed: int) -> tuple[LinearGaussian, Tensor, ClippedGaussian]:
    """A problem with its clean features, and its noise about a ball that holds nearly all."""
    rng = Rng(seed, ("information",))
    problem = LinearGaussian.random(
        1 + seed % 4, 1 + seed % 6, rng, sigma=(0.3, 1.0, 3.0)[seed % 3]
    )
    features = problem.targets(400, rng) @ problem.matrix.T
    radius = 8 * math.sqrt(float((problem.matrix @ problem.covariance @ problem.matrix.T).trace()))
    centre = problem.matrix @ problem.mean
    return problem, features, ClippedGaussian(centre, radius, problem.sigma)


_PROBLEMS = [40, pytest.param(200, marks=pytest.mark.slow)]


@pytest.mark.parametrize("problems", _PROBLEMS)
def test_upper_bounds_rarely_fall_below_the_information_of_gaussians(problems: int) -> None:
    """At level 0.6, so that a bound without its margin would be caught missing."""
    missed = {"variational": 0, "log det": 0}
    for seed in range(problems):
        problem, features, release = _linear(seed)
        for name, measure in (("variational", variational_bound), ("log det", log_det_bound)):
            bound = measure(features, release, Rng(seed), level=0.6)
            assert bound.is_bound
            assert (bound.kind, bound.direction) == (Kind.CONFIDENCE, Direction.UPPER)
            missed[name] += bound.value < problem.information
    assert max(missed.values()) <= _allowed(problems, 0.6)


def _mixture(seed: int, features: int = 1, spread: float = 3.0) -> GaussianMixture:
    return GaussianMixture.random(
        2 + seed % 4, 3, features, Rng(seed, ("mixture",)), sigma=0.5, spread=spread
    )


@pytest.mark.parametrize("problems", _PROBLEMS)
def test_upper_bounds_rarely_fall_below_the_information_of_mixtures(problems: int) -> None:
    missed = {"plain": 0, "with labels": 0, "log det": 0, "given label": 0}
    for seed in range(problems):
        problem = _mixture(seed)
        _, information = problem.exact()
        x, y = problem.draw(400, Rng(seed))
        features, release = x @ problem.matrix.T + problem.offset, problem.release(60.0)
        rng = Rng(seed, ("bound",))
        missed["plain"] += variational_bound(features, release, rng).value < information
        labelled = variational_bound(features, release, rng, labels=y)
        missed["with labels"] += labelled.value < information
        missed["log det"] += log_det_bound(features, release, rng).value < information
        given = redundancy_bound(features, y, release, rng)
        missed["given label"] += given.value < problem.information_given_label
    assert max(missed.values()) <= _allowed(problems, 0.95)


@pytest.mark.parametrize("problems", _PROBLEMS)
def test_leave_one_out_ends_rarely_miss(problems: int) -> None:
    missed = [0, 0]
    for seed in range(problems):
        problem = _mixture(seed)
        _, information = problem.exact()
        x, _ = problem.draw(400, Rng(seed))
        features = x @ problem.matrix.T + problem.offset
        lower, upper = leave_one_out_bounds(features, problem.release(), Rng(seed), draws=1)
        assert 0 <= lower.value <= math.log(20)
        missed[0] += lower.value > information
        missed[1] += upper.value < information
    assert max(missed) <= _allowed(problems, 0.95)


@pytest.mark.parametrize("problems", _PROBLEMS)
def test_identification_floor_rarely_exceeds_the_information(problems: int) -> None:
    """The best guesser in galleries of 8 from Gaussians whose information is exact."""
    missed, found = 0, []
    for seed in range(problems):
        problem = LinearGaussian.random(3, 3, Rng(seed), sigma=(0.1, 0.5, 2.0)[seed % 3])
        x = problem.targets(400 * 8, Rng(seed)).reshape(400, 8, 3)
        clean = x @ problem.matrix.T
        noise = torch.randn(400, 1, 3, generator=Rng(seed).torch(), dtype=torch.float64)
        sent = clean[:, :1] + problem.sigma * noise
        named = (sent - clean).square().sum(2).argmin(1) == 0
        floor = identification_floor(int(named.sum()), 400, candidates=8)
        missed += floor.value > problem.information
        found.append(floor.value / min(problem.information, math.log(8)))
    assert missed <= _allowed(problems, 0.95)
    assert max(found) > 0.5


def test_entropy_floor_rarely_exceeds_the_entropy() -> None:
    missed = 0
    for seed in range(200):
        generator = Rng(seed, ("entropy",)).numpy()
        shares = generator.dirichlet([0.3] * 6)
        drawn = torch.from_numpy(generator.choice(6, 300, p=shares))
        missed += entropy_floor(drawn, level=0.6).value > stats.entropy(shares)
    assert missed <= _allowed(200, 0.6)
    many = torch.arange(90_000) % 6
    assert 0.9 * math.log(6) < entropy_floor(many).value < math.log(6)
    assert entropy_floor(torch.zeros(100, dtype=torch.int64)).value == 0
    assert entropy_floor(torch.arange(1)).value == 0
    with pytest.raises(BadData, match="at least 1"):
        entropy_floor(torch.zeros(0, dtype=torch.int64))
    with pytest.raises(BadPlan, match="level"):
        entropy_floor(many, level=1.0)


def test_a_bound_without_any_model_of_the_images() -> None:
    """Cells counted, noise measured, nothing declared: both ends are confident, and it holds."""
    x = torch.randint(0, 256, (20_000, 1), generator=Rng(1).torch())
    features = x.double() / 255
    release = ClippedGaussian(torch.full((1,), 0.5, dtype=torch.float64), 0.5, 0.3)
    entropy = entropy_floor(x[:10_000, 0], level=0.975)
    information = variational_bound(features[10_000:], release, Rng(2), level=0.975)
    bound = dithered_bound(entropy, information, dimensions=1)
    assert bound.kind is Kind.CONFIDENCE
    assert bound.level == pytest.approx(0.95)
    likelihood = torch.linspace(-2, 3, 5001, dtype=torch.float64)
    grid = torch.arange(256, dtype=torch.float64) / 255
    weights = (-0.5 * ((likelihood[:, None] - grid) / 0.3).square()).exp()
    posterior = weights / weights.sum(1, keepdim=True)
    spread = posterior @ grid.square() - (posterior @ grid).square()
    mmse = float((weights.sum(1) * spread).sum() / weights.sum())
    assert 0.3 * mmse < bound.value < mmse


def test_bounds_close_in_on_the_information_as_images_grow() -> None:
    problem = LinearGaussian.random(4, 4, Rng(3), sigma=0.5)
    release = ClippedGaussian(problem.matrix @ problem.mean, 20.0, 0.5)
    drawn = [problem.targets(n, Rng(n)) @ problem.matrix.T for n in (200, 2000, 20_000)]
    gaps = [
        measure(features, release, Rng(1)).value - problem.information
        for features in drawn
        for measure in (variational_bound, log_det_bound)
    ]
    assert all(gap > 0 for gap in gaps)
    assert gaps[0] > gaps[2] > gaps[4]
    assert gaps[1] > gaps[3] > gaps[5]
    assert max(gaps[4:]) < 0.2


@pytest.mark.parametrize("n", [40, 100, 300, 1500])
def test_plug_in_understates_what_the_variational_bound_covers(n: int) -> None:
    """32 features in five clusters: few images a class make the plug-in fall far short."""
    problem = GaussianMixture.random(5, 16, 32, Rng(8), sigma=0.1, spread=2.0)
    truth = problem.sampled(20_000, Rng(1))[1]
    x, y = problem.draw(2 * n, Rng(2))
    features = x @ problem.matrix.T + problem.offset
    counts = y.bincount(minlength=5)
    plug = sum(
        float(counts[c])
        / len(y)
        * log_det_estimates(features[y == c], problem.sigma, Rng(0))["plug_in"].value
        for c in range(5)
        if counts[c] >= 4
    )
    bound = variational_bound(features, problem.release(_FAR), Rng(3), labels=y)
    assert bound.value > truth.high
    if n <= 100:
        assert plug < problem.information_given_label < truth.low


def test_labels_tell_the_bound_of_clusters_apart() -> None:
    problem = GaussianMixture.random(5, 6, 6, Rng(4), sigma=0.3, spread=6.0)
    x, y = problem.draw(6000, Rng(5))
    features, release = x @ problem.matrix.T + problem.offset, problem.release(60.0)
    truth = problem.sampled(20_000, Rng(6))[1].value
    plain = variational_bound(features, release, Rng(7))
    labelled = variational_bound(features, release, Rng(7), labels=y)
    given = redundancy_bound(features, y, release, Rng(7))
    assert truth < labelled.value < plain.value
    assert any("mixture over classes" in note for note in labelled.assumptions)
    assert problem.information_given_label < given.value < labelled.value
    assert given.value < truth + 1


@pytest.mark.parametrize("how", ["rescaled", "rotated", "padded"])
def test_recoded_features_keep_fitted_bounds_valid(how: str) -> None:
    problem = LinearGaussian.random(4, 5, Rng(6), sigma=0.5)
    features = problem.targets(3000, Rng(7)) @ problem.matrix.T
    centre, radius, sigma = problem.matrix @ problem.mean, 15.0, 0.5
    if how == "rescaled":
        features, other = 9 * features, ClippedGaussian(9 * centre, 9 * radius, 9 * sigma)
    elif how == "rotated":
        turn = torch.linalg.qr(torch.randn(5, 5, generator=Rng(1).torch()).double()).Q
        features, other = features @ turn, ClippedGaussian(centre @ turn, radius, sigma)
    else:
        blank = features.new_zeros(len(features), 4)
        features = torch.cat([features, blank], 1)
        other = ClippedGaussian(torch.cat([centre, blank[0]]), radius, sigma)
    for measure in (variational_bound, log_det_bound):
        bound = measure(features, other, Rng(8))
        assert problem.information < bound.value < problem.information + 1.5
        assert bound.value <= capacity_bound(other, features.shape[1]).value


def test_dithered_features_of_known_information() -> None:
    """Uniform on [0, 1] rounded with a dither of a quarter: I = h(Z) - log step in closed form.

    Z = X + U with U on a cell of width w = 1/4 has a trapezoidal density: flat at 1 on an interval
    of 1 - w and falling to 0 over w at each end, so h(Z) = w / 2.
    """
    lattice = Lattice(low=0.0, step=0.25, bits=3)
    release = DitheredFeatures(lattice)
    features = torch.rand(4000, 1, generator=Rng(1).torch(), dtype=torch.float64)
    truth = 0.125 + math.log(4)
    bound = variational_bound(features, release, Rng(2))
    assert truth < bound.value < truth + 0.35
    lower, upper = leave_one_out_bounds(features, release, Rng(3))
    assert truth - 0.1 < lower.value < truth < upper.value


def test_chains_are_judged_by_their_noise_and_several_sends_add_up() -> None:
    features = torch.randn(400, 3, generator=Rng(1).torch())
    bare = parse_release("gaussian(sigma=1)").fit(features)
    coarse = parse_release("gaussian(sigma=1)+quantise(bits=4)").fit(features)
    half = parse_release("half+gaussian(sigma=1)").fit(features)
    one = variational_bound(features, bare, Rng(2))
    assert variational_bound(features, coarse, Rng(2)) == one
    assert variational_bound(features, half, Rng(2)).is_bound
    assert variational_bound(features, bare, Rng(2), sends=3).value == pytest.approx(3 * one.value)
    told = log_det_bound(features, coarse, Rng(2))
    assert told == log_det_bound(features, bare, Rng(2))
    assert log_det_bound(features, bare, Rng(2), sends=2).value == pytest.approx(2 * told.value)
    lower, upper = leave_one_out_bounds(features, coarse, Rng(2))
    assert (lower.kind, upper.kind) == (Kind.PROXY, Kind.CONFIDENCE)
    assert not lower.is_bound


@pytest.mark.parametrize("written", ["none", "half", "quantise(bits=4)"])
def test_a_release_without_noise_is_given_its_payload_and_no_guarantee(written: str) -> None:
    features = torch.randn(100, 3, generator=Rng(1).torch())
    release = parse_release(written).fit(features)
    labels = torch.arange(100) % 2
    for bound in (
        variational_bound(features, release, Rng(0)),
        redundancy_bound(features, labels, release, Rng(0)),
    ):
        assert bound.value == payload_bound(release, 3).value
        assert bound.kind is Kind.THEOREM
        assert any("no information-theoretic guarantee" in note for note in bound.assumptions)
    with pytest.raises(BadPlan, match="clipped Gaussian"):
        log_det_bound(features, release, Rng(0))
    with pytest.raises(BadPlan, match="no noise of known law"):
        leave_one_out_bounds(features, release, Rng(0))


def test_bad_input_is_refused() -> None:
    features = torch.randn(100, 3, generator=Rng(1).torch())
    release = ClippedGaussian(torch.zeros(3), 5.0, 1.0)
    open_release = ClippedGaussian(torch.zeros(3), math.inf, 1.0)
    labels = torch.arange(100) % 2
    for measure in (variational_bound, log_det_bound):
        with pytest.raises(BadPlan, match="confined"):
            measure(features, open_release, Rng(0))
        with pytest.raises(BadData, match="at least 40"):
            measure(features[:39], release, Rng(0))
        with pytest.raises(BadData, match="NaN"):
            measure(features * math.nan, release, Rng(0))
        with pytest.raises(BadPlan, match="1 send"):
            measure(features, release, Rng(0), sends=0)
    with pytest.raises(BadData, match="one label"):
        redundancy_bound(features, labels[:7], release, Rng(0))
    with pytest.raises(BadData, match="count from 0"):
        redundancy_bound(features, labels - 1, release, Rng(0))
    with pytest.raises(BadPlan, match="groups"):
        leave_one_out_bounds(features, release, Rng(0), groups=3)
    with pytest.raises(BadData, match="at least 40"):
        leave_one_out_bounds(features[:39], release, Rng(0))
    with pytest.raises(BadData, match="need 4"):
        log_det_estimates(features[:3], 1.0, Rng(0))


def test_constant_features_and_single_image_classes_have_an_answer() -> None:
    release = ClippedGaussian(torch.zeros(3), 5.0, 1.0)
    still = torch.ones(100, 3)
    for bound in (
        variational_bound(still, release, Rng(0), labels=torch.zeros(100, dtype=torch.int64)),
        redundancy_bound(
            torch.randn(100, 3, generator=Rng(1).torch()), torch.arange(100), release, Rng(0)
        ),
        log_det_bound(still, release, Rng(0)),
    ):
        assert 0 <= bound.value < math.inf


def test_estimates_say_on_which_side_they_err() -> None:
    features = torch.randn(60, 90, generator=Rng(1).torch())
    found = log_det_estimates(features, 0.3, Rng(0))
    assert list(found) == ["plug_in", "oas", "ladder", "trace"]
    assert all(q.kind is Kind.PROXY and not q.is_bound for q in found.values())
    assert "biased low" in found["plug_in"].assumptions[1]
    truth = 45 * math.log1p(1 / 0.09)
    assert found["plug_in"].value < 0.9 * truth < 1.1 * truth
    assert found["plug_in"].value < found["oas"].value <= found["trace"].value * (1 + 1e-9)


def _inputs(n: int, rng: Rng) -> tuple[Tensor, ...]:
    return torch.randn(n, 3, generator=rng.child("z").torch()), torch.arange(n) % 2


_RELEASE = ClippedGaussian(torch.zeros(3), 5.0, 1.0)


def _variational(inputs: tuple[Tensor, ...], rng: Rng) -> Quantity:
    return variational_bound(inputs[0], _RELEASE, rng, labels=inputs[1])


def _redundancy(inputs: tuple[Tensor, ...], rng: Rng) -> Quantity:
    return redundancy_bound(inputs[0], inputs[1], _RELEASE, rng)


def _log_det(inputs: tuple[Tensor, ...], rng: Rng) -> Quantity:
    return log_det_bound(inputs[0], _RELEASE, rng)


def _upper(inputs: tuple[Tensor, ...], rng: Rng) -> Quantity:
    return leave_one_out_bounds(inputs[0], _RELEASE, rng)[1]


class TestInformation(MeasureConformance):
    @pytest.fixture(params=[_variational, _redundancy, _log_det, _upper])
    def case(self, request: pytest.FixtureRequest) -> MeasureCase:
        return MeasureCase(
            measure=request.param, inputs=_inputs, unit="nat per image", least=40, ordered=True
        )
