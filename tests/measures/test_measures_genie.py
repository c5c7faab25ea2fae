"""Nested galleries from a stream: same numbers as their definition, in the memory of one block."""

import math
from collections.abc import Iterator
from typing import TypeAlias
from weakref import WeakSet

import pytest
import torch
from scipy import stats
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.estimators.gallery import GalleryPosterior
from splitveil.measures import GalleryBlock, genie_bound, genie_curve, genie_stream
from splitveil.quantities import Direction, Kind
from splitveil.release import ClippedGaussian, Identity
from splitveil.rng import Rng
from splitveil.testing.oracles import LinearGaussian

Blocks: TypeAlias = Iterator[Iterator[GalleryBlock]]


def _streams(problem: LinearGaussian, sizes: tuple[int, ...], count: int) -> Blocks:
    def blocks(gallery: int) -> Iterator[GalleryBlock]:
        for place, size in enumerate(sizes):
            x = problem.targets(size, Rng(3, ("stream", str(gallery), str(place))))
            yield GalleryBlock(x, problem.partition().features(x))

    return (blocks(gallery) for gallery in range(count))


def _direct(scores: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Variance per value, entropy and largest weight by their definitions."""
    weights = scores.softmax(1)
    middle = weights @ x
    distances = (x - middle[:, None]).square().sum(2)
    entropy = torch.special.entr(weights).sum(1)
    return (weights * distances).sum(1) / x.shape[1], entropy, weights.amax(1)


@pytest.mark.parametrize("scale", [0.1, 3.0, 300.0])
def test_blocks_give_what_the_whole_gallery_gives(scale: float) -> None:
    generator = Rng(1).torch()
    x = torch.randn(50, 3, generator=generator, dtype=torch.float64) + 5
    scores = scale * torch.randn(6, 50, generator=generator, dtype=torch.float64)
    scores[2, 10:40] = -math.inf  # another class
    own = torch.arange(6)
    posterior = GalleryPosterior(x[own])
    posterior.update(scores[:, :10], x[:10], own)
    posterior.update(scores[:, 10:37], x[10:37])
    posterior.update(scores[:, 37:], x[37:])
    state = posterior.state()
    variance, entropy, largest = _direct(scores, x)
    torch.testing.assert_close(state.variance, variance, rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(state.entropy, entropy, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(state.largest, largest)
    torch.testing.assert_close(state.own, scores.softmax(1)[own, own])


def test_nearly_one_hot_posteriors_keep_their_digits() -> None:
    """Weight e^-60 on an item at distance 1, far from the origin: variance e^-60 to 6 digits."""
    x = torch.tensor([[1000.0], [1001.0]], dtype=torch.float64)
    posterior = GalleryPosterior(x[:1])
    scores = torch.tensor([[0.0, -60.0]], dtype=torch.float64)
    posterior.update(scores, x, torch.tensor([0]))
    assert float(posterior.state().variance) == pytest.approx(math.exp(-60), rel=1e-6)


def test_nested_galleries_rise_towards_the_least_error() -> None:
    """Linear-Gaussian d=8, m=6 as in the theory's check: N = 10, 100, 1000 below the mmse."""
    problem = LinearGaussian.random(8, 6, Rng(11), sigma=1.0)
    streams = _streams(problem, (10, 90, 900), 100)
    points = genie_stream(streams, problem.release(), Rng(0), hidden=10)
    assert [point.size for point in points] == [10, 100, 1000]
    values = [point.bound.value for point in points]
    assert 0 < values[0] < values[1] < values[2] < problem.mmse
    assert values[2] > 0.85 * problem.mmse
    anonymity = [point.anonymity.value for point in points]
    assert 1 < anonymity[0] < anonymity[1] < anonymity[2] < 1000
    named = [point.identification.value for point in points]
    assert 1 > named[0] > named[1] > named[2] > 1e-3
    for point in points:
        assert point.bound.is_bound
        assert point.anonymity.direction is Direction.LOWER
        assert point.identification.direction is Direction.UPPER
        assert point.worst.kind is Kind.PROXY
        assert 0 <= point.worst.value <= point.bound.value * 1.2


def test_anonymity_is_exact_for_the_information_left_in_a_large_gallery() -> None:
    """log N - H(I | Z) tends to I(X; Z) from below as the gallery grows past exp(I)."""
    problem = LinearGaussian.random(3, 3, Rng(5), sigma=2.0)
    (point,) = genie_stream(_streams(problem, (1000,), 40), problem.release(), Rng(0), hidden=200)
    told = math.log(1000) - math.log(point.anonymity.value)
    assert told == pytest.approx(problem.information, abs=0.05)


def test_bounds_rarely_cross_what_they_bound() -> None:
    """200 problems: a 95 % bound may fail as often as a binomial does."""
    failed = 0
    for seed in range(200):
        rng = Rng(seed, ("claims",))
        sigma = (0.3, 1.0, 3.0, 10.0)[seed % 4]
        problem = LinearGaussian.random(1 + seed % 5, 1 + seed % 7, rng, sigma=sigma)
        x = problem.targets(400, rng)
        features = problem.partition().features(x)
        bound = genie_bound(x, features, problem.release(), rng.child("bound"), draws=1)
        failed += bound.value > problem.mmse + 1e-9
    assert failed <= stats.binom.ppf(0.999, 200, 0.05)


def test_curve_and_bound_agree() -> None:
    problem = LinearGaussian.random(4, 4, Rng(2), sigma=1.0)
    x = problem.targets(1000, Rng(5))
    features = problem.partition().features(x)
    points = genie_curve(x, features, problem.release(), Rng(6), sizes=(20, 50))
    assert [point.size for point in points] == [20, 50]
    assert points[1].bound.value < problem.mmse
    alone = genie_bound(x, features, problem.release(), Rng(6))
    (same,) = genie_curve(x, features, problem.release(), Rng(6))
    assert alone == same.bound


def test_embeddings_are_targets() -> None:
    """Of x / 2 the bound is a quarter."""
    problem = LinearGaussian.random(4, 4, Rng(2), sigma=1.0)
    x = problem.targets(400, Rng(5))
    features = problem.partition().features(x)
    whole = genie_bound(x, features, problem.release(), Rng(6))
    half = genie_bound(0.5 * x, features, problem.release(), Rng(6))
    assert half.value == pytest.approx(whole.value / 4)


def test_known_labels_leave_the_class_only() -> None:
    problem = LinearGaussian.random(2, 2, Rng(2), sigma=1000.0)
    x = problem.targets(400, Rng(5))
    features = problem.partition().features(x)
    labels = torch.arange(400) % 2
    free = genie_curve(x, features, problem.release(), Rng(6))[-1]
    known = genie_curve(x, features, problem.release(), Rng(6), labels=labels)[-1]
    assert free.anonymity.value == pytest.approx(20, rel=0.02)
    assert known.anonymity.value == pytest.approx(10, rel=0.1)
    assert known.identification.value > free.identification.value
    assert any("may know the label" in words for words in known.bound.assumptions)


def test_blocks_are_let_go() -> None:
    problem = LinearGaussian.random(3, 3, Rng(5), sigma=1.0)
    alive: WeakSet[GalleryBlock] = WeakSet()
    most = 0

    def blocks(gallery: int) -> Iterator[GalleryBlock]:
        nonlocal most
        for place in range(6):
            x = problem.targets(100, Rng(3, (str(gallery), str(place))))
            block = GalleryBlock(x, problem.partition().features(x))
            alive.add(block)
            yield block
            del block
            most = max(most, len(alive))

    genie_stream((blocks(g) for g in range(20)), problem.release(), Rng(0), hidden=5)
    assert most == 1


def test_bad_streams_are_refused() -> None:
    problem = LinearGaussian.random(3, 3, Rng(5), sigma=1.0)
    release = problem.release()
    with pytest.raises(BadPlan, match="20 galleries"):
        genie_stream(_streams(problem, (10,), 3), release, Rng(0))
    with pytest.raises(BadPlan, match="hidden must lie"):
        genie_stream(_streams(problem, (10,), 20), release, Rng(0), hidden=11)
    with pytest.raises(BadPlan, match="no information-theoretic guarantee"):
        genie_stream(_streams(problem, (10,), 20), Identity(), Rng(0))
    mixed = [[GalleryBlock(torch.zeros(n, 3), torch.zeros(n, 3))] for n in [5] * 19 + [6]]
    with pytest.raises(BadData, match="differ in their block sizes"):
        genie_stream(mixed, ClippedGaussian(torch.zeros(3), 1.0, 1.0), Rng(0))
    x = problem.targets(100, Rng(0))
    for sizes in ((1,), (6,), (4, 3)):
        with pytest.raises(BadPlan, match="sizes must increase"):
            genie_curve(x, x, release, Rng(0), sizes=sizes)
    with pytest.raises(BadData, match="one of each"):
        genie_curve(x, x[:5], release, Rng(0))
