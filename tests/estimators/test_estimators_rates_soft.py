"""Rates beside problems whose information is known."""

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.estimators.centroids import ClassClusters, fit_clusters
from splitveil.estimators.rates import (
    CellRates,
    MovingClusters,
    cell_rates,
    class_rate,
    follow,
    held_out_rate,
    retained_ratio,
)
from splitveil.quantities import Direction, Kind
from splitveil.rng import Rng
from splitveil.testing.oracles import LinearGaussian

PROBLEMS = range(200)
ROWS = 300


def clusters_of(
    seed: int, classes: int, components: int, values: int, *, each: bool
) -> ClassClusters:
    generator = Rng(seed, ("clusters",)).torch()
    shares = torch.rand(classes, components, generator=generator, dtype=torch.float64) + 0.1
    wide = values if each else 1
    return ClassClusters(
        centroids=torch.randn(classes, components, values, generator=generator).double(),
        variances=torch.rand(classes, components, wide, generator=generator).double(),
        shares=shares / shares.sum(1, keepdim=True),
    )


@cache
def linear_gaussian(seed: int) -> tuple[LinearGaussian, Tensor, float]:
    """A problem, its clean features, and a radius they keep."""
    draw = Rng(seed).numpy()
    d, f = int(draw.integers(2, 9)), int(draw.integers(2, 9))
    sigma = float(10 ** draw.uniform(-1.3, 0.5))
    problem = LinearGaussian.random(d, f, Rng(seed), sigma=sigma)
    clean = problem.targets(2 * ROWS, Rng(seed)) @ problem.matrix.T + problem.offset
    return problem, clean, 1.1 * float(clean.norm(dim=1).max())


@pytest.mark.parametrize("each", [False, True])
def test_the_rate_is_that_of_its_formula(each: bool) -> None:
    """Row by row and component by component, densities written out."""
    sigma, values = 0.3, 5
    clusters = clusters_of(0, 3, 4, values, each=each)
    z = torch.randn(20, values, generator=Rng(1).torch(), dtype=torch.float64)
    y = torch.randint(3, (20,), generator=Rng(2).torch())
    found = class_rate(z, y, clusters, sigma=sigma)
    for i in range(20):
        total = 0.0
        for k in range(4):
            v = clusters.variances[y[i], k].expand(values) + sigma**2
            away = (z[i] - clusters.centroids[y[i], k]).square() + sigma**2
            log_q = -0.5 * float((2 * math.pi * v).log().sum() + (away / v).sum())
            total += float(clusters.shares[y[i], k]) * math.exp(log_q)
        own = 0.5 * values * math.log(2 * math.pi * math.e * sigma**2)
        assert float(found[i]) == pytest.approx((-math.log(total) - own) / values, rel=1e-10)


@pytest.mark.parametrize("each", [False, True])
def test_gradients_are_those_of_differences(each: bool) -> None:
    clusters = clusters_of(0, 2, 3, 4, each=each)
    z = torch.randn(6, 4, generator=Rng(1).torch(), dtype=torch.float64, requires_grad=True)
    sigma = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0, 1, 0, 1, 0, 1])
    assert torch.autograd.gradcheck(
        lambda rows, s: class_rate(rows, y, clusters, sigma=s), (z, sigma)
    )


def test_single_and_double_precision_agree_at_small_noise() -> None:
    clusters = clusters_of(3, 4, 5, 256, each=False)
    z = torch.rand(32, 256, generator=Rng(1).torch(), dtype=torch.float64) + 30
    moved = ClassClusters(
        centroids=30 + 0.01 * clusters.centroids,
        variances=1e-4 * clusters.variances,
        shares=clusters.shares,
    )
    y = torch.arange(32) % 4
    exact = class_rate(z, y, moved, sigma=0.01)
    rough = class_rate(z.float(), y, moved.to(z.float()), sigma=0.01)
    torch.testing.assert_close(rough.double(), exact, rtol=1e-3, atol=1e-3)


def test_one_gaussian_of_the_true_moments_has_the_true_rate() -> None:
    """Isotropic features with known moments: the mean of the rate is the information itself."""
    v, sigma, values = 0.7, 0.5, 6
    rows = 200_000
    z = v**0.5 * torch.randn(rows, values, generator=Rng(0).torch(), dtype=torch.float64)
    clusters = ClassClusters(
        centroids=torch.zeros(1, 1, values, dtype=torch.float64),
        variances=torch.full((1, 1, 1), v, dtype=torch.float64),
        shares=torch.ones(1, 1, dtype=torch.float64),
    )
    found = class_rate(z, torch.zeros(rows).long(), clusters, sigma=sigma)
    truth = 0.5 * math.log(1 + v / sigma**2)
    assert abs(float(found.mean()) - truth) < 4 * float(found.std()) / rows**0.5


def test_the_soft_rate_is_never_below_the_entropy_of_a_known_mixture() -> None:
    """The Monte Carlo information of the mixture itself, features being its centres."""
    sigma, values, components, rows = 0.6, 3, 4, 40_000
    generator = Rng(0).torch()
    centres = torch.randn(components, values, generator=generator, dtype=torch.float64)
    which = torch.randint(components, (rows,), generator=generator)
    z = centres[which]
    clusters = ClassClusters(
        centroids=centres[None],
        variances=torch.zeros(1, components, 1, dtype=torch.float64),
        shares=torch.full((1, components), 1 / components, dtype=torch.float64),
    )
    noisy = z + sigma * torch.randn(rows, values, generator=generator, dtype=torch.float64)
    log_q = -((noisy[:, None] - centres).square().sum(2)) / (2 * sigma**2)
    own = log_q.gather(1, which[:, None])[:, 0]
    ratio = own - (log_q.logsumexp(1) - math.log(components))
    found = float(class_rate(z, torch.zeros(rows).long(), clusters, sigma=sigma).mean())
    assert values * found >= float(ratio.mean()) - 4 * float(ratio.std()) / rows**0.5
    assert values * found <= math.log(components) + 1e-9


def test_no_rate_of_any_mixture_falls_below_the_information() -> None:
    """200 linear-Gaussian problems: mixtures fitted on other rows, and absurd ones."""
    zeros = torch.zeros(ROWS).long()
    close = []
    for seed in PROBLEMS:
        problem, clean, radius = linear_gaussian(seed)
        values = clean.shape[1]
        fitted = fit_clusters(
            clean[:ROWS],
            zeros,
            classes=1,
            clusters=1 + seed % 5,
            generator=Rng(seed).torch(),
            diagonal=seed % 2 == 0,
        )
        absurd = clusters_of(seed, 1, 3, values, each=False)
        for clusters in (fitted, absurd):
            found = held_out_rate(clean[ROWS:], clusters, sigma=problem.sigma, radius=radius)
            assert found.value >= problem.information / values
            rates = class_rate(clean[ROWS:], zeros, clusters, sigma=problem.sigma)
            error = float(rates.std()) / ROWS**0.5
            assert float(rates.mean()) >= problem.information / values - 4 * error
            capacity = 0.5 * math.log1p(radius**2 / values / problem.sigma**2)
            assert found.value <= capacity + (math.log(100) + 0.01) / values
        close.append(float(class_rate(clean[ROWS:], zeros, fitted, sigma=problem.sigma).mean()))
    truths = [linear_gaussian(s)[0].information / linear_gaussian(s)[1].shape[1] for s in PROBLEMS]
    # and it is no empty claim: the fitted ones are not far above
    ratios = torch.tensor(close) / torch.tensor(truths)
    assert float(ratios.median()) < 2


def test_no_error_falls_below_the_bound() -> None:
    """200 linear-Gaussian problems: least and measured error beside Shannon's end."""
    for seed in PROBLEMS:
        problem, clean, _ = linear_gaussian(seed)
        values, d = clean.shape[1], problem.dimensions
        covariance = problem.matrix @ problem.covariance @ problem.matrix.T
        one = torch.ones(1, dtype=torch.float64)
        rates = cell_rates(one, covariance[None], sigma=problem.sigma)
        assert rates.exact == pytest.approx(problem.information / values, rel=1e-8)
        assert rates.exact <= rates.diagonal + 1e-12 <= rates.isotropic + 2e-12
        power = math.exp(2 * problem.prior_entropy / d) / (2 * math.pi * math.e)
        x = problem.targets(2 * ROWS, Rng(seed))
        noise = torch.randn(clean.shape, generator=Rng(seed, ("e",)).torch(), dtype=torch.float64)
        answers = problem.posterior_mean(clean + problem.sigma * noise)
        errors = (x - answers).square().mean(1)
        measured = float(errors.mean())
        for rate in (rates.exact, rates.diagonal, rates.isotropic):
            bound = power * math.exp(-2 * values * rate / d)
            assert bound <= problem.mmse * (1 + 1e-5)
            assert bound <= measured + 4 * float(errors.std()) / len(errors) ** 0.5


def test_rates_of_cells_are_ordered_and_hold_for_cells_that_are_not_gaussian() -> None:
    """Signs of two uniform values as cells; the information of each value by quadrature."""
    sigma = 0.4
    u = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000 * 2 - 1
    grid = torch.linspace(-4, 4, 4001, dtype=torch.float64)
    density = 0.25 * (
        torch.special.erf((grid + 1) / (sigma * 2**0.5))
        - torch.special.erf((grid - 1) / (sigma * 2**0.5))
    )
    entropy = torch.trapezoid(torch.special.entr(density), grid)
    truth = float(entropy) - 0.5 * math.log(2 * math.pi * math.e * sigma**2)
    half = torch.diag(torch.full((2,), float(u[u > 0].var()), dtype=torch.float64))
    quarter = torch.full((4,), 0.25, dtype=torch.float64)
    found = cell_rates(quarter, half.repeat(4, 1, 1), sigma=sigma)
    assert found.exact >= truth
    skew = torch.tensor([[[2.0, 0.9], [0.9, 0.5]]], dtype=torch.float64)
    one = cell_rates(torch.ones(1, dtype=torch.float64), skew, sigma=sigma)
    assert isinstance(one, CellRates)
    assert one.exact < one.diagonal < one.isotropic


def test_the_ratio_of_bounds_needs_no_entropy_of_images() -> None:
    problem, clean, _ = linear_gaussian(3)
    values, d = clean.shape[1], problem.dimensions
    louder = LinearGaussian(
        problem.mean, problem.covariance, problem.matrix, problem.offset, 2 * problem.sigma
    )
    found = retained_ratio(
        louder.information / values, problem.information / values, values=values, dimensions=d
    )
    assert found == pytest.approx(louder.entropy_bound / problem.entropy_bound)


def test_a_held_out_rate_says_what_it_is() -> None:
    problem, clean, radius = linear_gaussian(0)
    clusters = clusters_of(0, 2, 3, clean.shape[1], each=False)
    y = torch.arange(len(clean)) % 2
    found = held_out_rate(clean, clusters, sigma=problem.sigma, radius=radius, y=y)
    assert (found.kind, found.direction, found.unit) == (
        Kind.CONFIDENCE,
        Direction.UPPER,
        "nat per value",
    )
    assert "beyond what the label tells" in found.assumptions
    assert found.is_bound
    blind = held_out_rate(clean, clusters, sigma=problem.sigma, radius=radius)
    assert blind.value <= found.value + math.log(2) / clean.shape[1] + 1e-2
    with pytest.raises(BadPlan, match="needs noise"):
        held_out_rate(clean, clusters, sigma=0.0, radius=radius)
    with pytest.raises(BadData, match="clip them"):
        held_out_rate(clean, clusters, sigma=1.0, radius=0.5 * radius)
    with pytest.raises(BadPlan, match="infinite"):
        cell_rates(torch.ones(1).double(), torch.eye(2).double()[None], sigma=0.0)
    with pytest.raises(BadPlan, match="sum to 1"):
        cell_rates(torch.ones(2).double(), torch.eye(2).double().repeat(2, 1, 1), sigma=1.0)


@pytest.mark.parametrize("each", [False, True])
def test_following_is_an_exponential_average(each: bool) -> None:
    """One component a class: weighted mean and variance of all rows, written out."""
    values, memory = 3, 20.0
    start = clusters_of(0, 2, 1, values, each=each)
    state = MovingClusters.of(start, 10.0)
    generator = Rng(4).torch()
    sums = [10.0, 10.0]
    means = [start.centroids[c, 0].clone() for c in range(2)]
    wide = [start.variances[c, 0].expand(values) for c in range(2)]
    squares = [wide[c] + means[c].square() for c in range(2)]
    for _ in range(5):
        z = 5 + torch.randn(8, values, generator=generator, dtype=torch.float64)
        y = torch.randint(2, (8,), generator=generator)
        state = follow(state, z, y, sigma=0.5, memory=memory)
        for c in range(2):
            rows = z[y == c]
            old = sums[c] * (1 - 1 / memory) ** len(rows)
            sums[c] = old + len(rows)
            means[c] = (old * means[c] + rows.sum(0)) / sums[c]
            squares[c] = (old * squares[c] + rows.square().sum(0)) / sums[c]
    for c in range(2):
        assert float(state.mass[c, 0]) == pytest.approx(sums[c])
        torch.testing.assert_close(state.clusters.centroids[c, 0], means[c])
        spread = squares[c] - means[c].square()
        spread = spread if each else spread.mean(0, keepdim=True)
        torch.testing.assert_close(state.clusters.variances[c, 0], spread)


def test_a_dead_component_restarts_and_classes_out_of_the_batch_stay() -> None:
    start = ClassClusters(
        centroids=torch.tensor([[[0.0], [90.0]], [[0.0], [90.0]]]),
        variances=torch.ones(2, 2, 1),
        shares=torch.tensor([[0.999, 0.001], [0.999, 0.001]]),
    )
    z = torch.tensor([[0.1], [-0.2], [7.0]])
    state = follow(
        MovingClusters.of(start, 50.0), z, torch.zeros(3).long(), sigma=1.0, memory=100.0
    )
    assert float(state.clusters.centroids[0, 1, 0]) == 7.0
    assert state.clusters.centroids[1].flatten().tolist() == [0.0, 90.0]
    assert float(state.clusters.shares[0, 1]) > 0.2


def test_followed_clusters_come_close_to_fitted_ones() -> None:
    """After five passes the rate is within 5 percent of that of k-means from the same start."""
    generator = Rng(0).torch()
    centres = 3 * torch.randn(4, 3, 16, generator=generator)
    y = torch.randint(4, (4000,), generator=generator)
    z = centres[y, torch.randint(3, (4000,), generator=generator)]
    z = z + torch.randn(4000, 16, generator=generator)
    first = fit_clusters(z[:200], y[:200], classes=4, clusters=3, generator=Rng(1).torch())
    state = MovingClusters.of(first, 50.0)
    for passed in range(5):
        order = torch.randperm(4000, generator=Rng(passed).torch())
        for batch in order.split(100):
            state = follow(state, z[batch], y[batch], sigma=0.5, memory=500.0)
    full = fit_clusters(
        z, y, classes=4, clusters=3, generator=Rng(1).torch(), start=first.centroids
    )
    exact = float(class_rate(z, y, full, sigma=0.5).mean())
    followed = float(class_rate(z, y, state.clusters, sigma=0.5).mean())
    assert 0.98 * exact < followed < 1.05 * exact
