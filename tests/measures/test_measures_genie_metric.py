"""The gallery bound for any distance, where the least mean distance is known."""

import math

import pytest
import torch
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.measures import genie_metric_bound
from splitveil.quantities import Kind, Quantity
from splitveil.release import ClippedGaussian, Identity
from splitveil.rng import Rng
from splitveil.testing.oracles import LinearGaussian


def _absolute(x: Tensor) -> Tensor:
    return torch.cdist(x, x, p=1)


def _bound(problem: LinearGaussian, x: Tensor, *, galleries: int = 20) -> Quantity:
    features = problem.partition().features(x)
    release = problem.release()
    return genie_metric_bound(
        x, features, release, _absolute, Rng(0), unit="value", galleries=galleries
    )


@pytest.mark.parametrize("sigma", [0.3, 1.0, 1000.0])
def test_absolute_error_of_normals_lies_between_half_and_all(sigma: float) -> None:
    """The posterior is N(., P), its least mean absolute error sqrt(2 P / pi)."""
    problem = LinearGaussian.random(1, 2, Rng(3), sigma=sigma)
    least = math.sqrt(2 * problem.mmse / math.pi)
    bound = _bound(problem, problem.targets(4000, Rng(1)))
    assert 0.4 * least < bound.value <= 0.5 * least
    assert bound.kind is Kind.CONFIDENCE
    assert bound.is_bound


def test_known_labels_leave_the_class_only() -> None:
    x = torch.rand(800, 1, generator=Rng(1).torch())
    labels = torch.arange(800) % 2
    x[labels == 1] += 10
    release = ClippedGaussian(torch.zeros(1), 100.0, 1e5)
    free, known = (
        genie_metric_bound(x, x, release, _absolute, Rng(0), unit="value", labels=given).value
        for given in (None, labels)
    )
    assert 1.8 < free < 2.5  # galleries are not quite even, and the majority answers
    assert known == pytest.approx(0.125, rel=0.1)


def test_nothing_is_claimed_without_noise() -> None:
    x = torch.rand(100, 2, generator=Rng(1).torch())
    bound = genie_metric_bound(x, x, Identity(), _absolute, Rng(0), unit="value")
    assert (bound.value, bound.kind) == (0, Kind.THEOREM)
    assert "no information-theoretic guarantee" in bound.assumptions[0]
    quiet = ClippedGaussian(torch.zeros(2), 10.0, 1e-5)
    assert genie_metric_bound(x, x, quiet, _absolute, Rng(0), unit="value").value < 1e-12


def test_bad_distances_are_refused() -> None:
    x = torch.rand(100, 2, generator=Rng(1).torch())
    release = ClippedGaussian(torch.zeros(2), 10.0, 1.0)
    for distances in (lambda some: some, lambda some: -_absolute(some)):
        with pytest.raises(BadData, match="must be a"):
            genie_metric_bound(x, x, release, distances, Rng(0), unit="value")
    with pytest.raises(BadData, match="need at least 40"):
        genie_metric_bound(x[:39], x[:39], release, _absolute, Rng(0), unit="value")
    with pytest.raises(BadData, match="one of each"):
        genie_metric_bound(x, x[:5], release, _absolute, Rng(0), unit="value")
    with pytest.raises(BadPlan, match="20 galleries"):
        genie_metric_bound(x, x, release, _absolute, Rng(0), unit="value", galleries=3)
