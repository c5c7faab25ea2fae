"""FID against normal laws in closed form, scipy's matrix root, and leaving classes out by hand."""

import numpy as np
import pytest
import torch
from scipy import linalg, stats
from torch import Tensor

from splitveil.class_inversion.evaluation import frechet_distance
from splitveil.class_inversion.evaluation.frechet import between
from splitveil.errors import BadData
from splitveil.quantities import Kind
from splitveil.rng import Rng


def exact(mean: Tensor, covariance: Tensor, n: int, seed: int) -> Tensor:
    """Features whose own mean and covariance are exactly these."""
    x = torch.randn(n, len(mean), generator=Rng(seed).torch(), dtype=torch.float64)
    x -= x.mean(0)
    white = torch.linalg.cholesky(x.T @ x / (n - 1))
    wanted = torch.linalg.cholesky(covariance)
    return x @ torch.linalg.inv(white).T @ wanted.T + mean


def labels(n: int, classes: int) -> Tensor:
    return torch.arange(n) % classes


def by_scipy(x: Tensor, y: Tensor) -> float:
    a, b = x.double().numpy(), y.double().numpy()
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.real(linalg.sqrtm(first @ second))
    apart = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return float(apart + np.trace(first + second - 2 * root))


def test_two_normal_laws_in_closed_form() -> None:
    first, second = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([4.0, 4.0, 1.0]).double()
    mean = torch.tensor([0.0, 1.0, -2.0]).double()
    x = exact(mean, first.diag(), 60, 1)
    y = exact(mean + torch.tensor([1.0, 0.0, 2.0]).double(), second.diag(), 90, 2)
    found = frechet_distance(x, labels(60, 6), y, labels(90, 6))
    # |(1, 0, 2)|^2 + (1 - 2)^2 + (2 - 2)^2 + (3 - 1)^2
    assert found.value == pytest.approx(5 + 1 + 0 + 4, rel=1e-9)
    assert (found.kind, found.n) == (Kind.MEASURED, 60)
    assert any("60 reconstructions, 90 private images" in one for one in found.assumptions)


def test_covariances_that_do_not_commute_and_lack_rank() -> None:
    generator = Rng(3).torch()
    x, y = (torch.randn(40, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    turned = y @ torch.randn(5, 5, generator=generator, dtype=torch.float64)
    found = frechet_distance(x, labels(40, 4), turned, labels(40, 4))
    assert found.value == pytest.approx(by_scipy(x, turned), rel=1e-9)
    # fewer images than features: for equal laws of rank one it is 0, not noise
    line = torch.tensor([[3.0, 4.0], [6.0, 8.0]]).double()
    flat = torch.stack([torch.outer(one, one) for one in line])
    zero = torch.zeros(1, 2).double()
    apart = between(zero, flat[:1], zero, flat[1:])
    assert float(apart[0]) == pytest.approx(25.0, rel=1e-9)
    assert float(between(zero, flat[:1], zero, flat[:1])[0]) == pytest.approx(0, abs=1e-9)


def test_its_error_is_the_jackknife_over_classes() -> None:
    generator = Rng(5).torch()
    x, y = torch.randn(30, 3, generator=generator), torch.randn(48, 3, generator=generator) + 1
    mine, theirs = labels(30, 6), labels(48, 6)
    found = frechet_distance(x, mine, y, theirs)
    left = np.array([by_scipy(x[mine != one], y[theirs != one]) for one in range(6)])
    error = np.sqrt(5 / 6 * ((left - left.mean()) ** 2).sum())
    half = stats.t.ppf(0.975, 5) * error
    assert found.high == pytest.approx(found.value + half, rel=1e-6)
    assert found.low == pytest.approx(max(0, found.value - half), rel=1e-6, abs=1e-9)


def test_few_images_of_one_law_are_far_from_it_and_the_zero_says_so() -> None:
    generator = Rng(7).torch()
    y = torch.randn(2000, 16, generator=generator)
    few, many = (torch.randn(n, 16, generator=generator) for n in (40, 400))
    found = [frechet_distance(x, labels(len(x), 10), y, labels(2000, 10)) for x in (few, many)]
    assert found[0].value > 4 * found[1].value
    for one in found:
        (said,) = [word for word in one.assumptions if "biased upwards" in word]
        zero = float(said.split(" are ")[2].split()[0])
        assert zero == pytest.approx(one.value, rel=0.5)


def test_too_few_classes_and_classes_without_private_images_are_refused() -> None:
    x = torch.rand(6, 2)
    with pytest.raises(BadData, match="3 classes"):
        frechet_distance(x, labels(6, 2), x, labels(6, 2))
    with pytest.raises(BadData, match="no private image"):
        frechet_distance(x, labels(6, 3), x, labels(6, 2))
