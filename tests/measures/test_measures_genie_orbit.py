"""Orbit decoys: exact where the law is invariant by construction, a model elsewhere."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.measures import Orbit, genie_bound, orbit_bound
from splitveil.quantities import Direction, Kind
from splitveil.release import ClippedGaussian, Identity
from splitveil.rng import Rng
from splitveil.testing.oracles import LinearGaussian

F64 = torch.float64
SIGNS = Orbit.even("signs", (lambda x: x, lambda x: -x))


def _open(features: int, sigma: float) -> ClippedGaussian:
    return ClippedGaussian(torch.zeros(features, dtype=F64), math.inf, sigma)


def test_a_forgotten_sign_is_hidden_at_any_noise() -> None:
    """Of a normal value only the square is sent: the least error is its variance, exactly 1."""
    x = torch.randn(2000, 1, generator=Rng(1).torch(), dtype=F64)
    release = _open(1, 1e-4)
    plain = genie_bound(x, x.square(), release, Rng(2))
    signed = orbit_bound(
        x, torch.square, release, Rng(2), orbit=SIGNS, invariance="by construction"
    )
    assert plain.value < 0.01
    assert 0.9 < signed.value <= 1.03
    assert (signed.kind, signed.direction) == (Kind.CONFIDENCE, Direction.LOWER)
    assert signed.is_bound


@pytest.mark.parametrize("problems", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_bounds_of_symmetric_laws_rarely_cross_the_least_error(problems: int) -> None:
    """Normal values about 0 are as likely as their negatives."""
    failed, gained = 0, 0
    for seed in range(problems):
        random = LinearGaussian.random(
            1 + seed % 4, 1 + seed % 5, Rng(seed), sigma=(0.3, 1.0, 3.0)[seed % 3]
        )
        zero = torch.zeros(random.dimensions, dtype=F64)
        problem = LinearGaussian(
            zero, random.covariance, random.matrix, 0 * random.offset, random.sigma
        )
        x, release = problem.targets(200, Rng(seed)), _open(len(problem.offset), problem.sigma)
        head = problem.partition().features
        bound = orbit_bound(
            x, head, release, Rng(seed), orbit=SIGNS, invariance="by construction", draws=1
        )
        failed += bound.value > problem.mmse + 1e-9
        gained += bound.value > genie_bound(x, head(x), release, Rng(seed), draws=1).value
    assert failed <= stats.binom.ppf(0.999, problems, 0.05)
    assert gained > problems / 2


def test_an_assumed_invariance_is_a_model() -> None:
    x = torch.rand(80, 1, 6, 6, generator=Rng(1).torch())
    for orbit, members in (
        (Orbit.flips(), 2),
        (Orbit.shifts(0.5), 9),
        (Orbit.brightness((0.9, 1.0)), 2),
    ):
        assert len(orbit.transforms) == members
        found = orbit_bound(x, _flat, _open(36, 2.0), Rng(0), orbit=orbit, draws=1)
        assert found.kind is Kind.MODEL
        assert not found.is_bound
        assert "assumed" in found.assumptions[0]
        assert 0 < found.value < float(x.var())


def _flat(x: Tensor) -> Tensor:
    return x.flatten(1)


def test_transforms_do_what_their_names_say() -> None:
    x = torch.rand(2, 1, 5, 5, generator=Rng(1).torch())
    still, flipped = (g(x) for g in Orbit.flips().transforms)
    assert torch.equal(still, x)
    assert torch.equal(flipped.flip(-1), x)
    whole = [g(x) for g in Orbit.shifts(1.0).transforms]
    torch.testing.assert_close(whole[0], x)
    assert any(torch.allclose(m[..., 1:], x[..., :-1], atol=1e-5) for m in whole)
    dark, bright = (g(x) for g in Orbit.brightness((0.5, 2.0)).transforms)
    assert torch.equal(dark, 0.5 * x)
    assert float(bright.max()) <= 1


def test_known_labels_leave_the_class_and_its_transforms() -> None:
    x = torch.randn(800, 1, generator=Rng(1).torch(), dtype=F64)
    labels = (x[:, 0].abs() > 0.7).long()
    loud = _open(1, 1e4)
    known = orbit_bound(x, _flat, loud, Rng(0), orbit=SIGNS, labels=labels)
    free = orbit_bound(x, _flat, loud, Rng(0), orbit=SIGNS)
    assert known.value == pytest.approx(free.value, rel=0.1)  # both classes are symmetric
    uneven = (x[:, 0] > 0).long()
    plain = genie_bound(x, x, loud, Rng(0), labels=uneven)
    assert plain.value < 0.6 * free.value


def test_bad_orbits_are_refused() -> None:
    x = torch.rand(60, 1, 4, 4)
    with pytest.raises(BadPlan, match="a chance for each"):
        Orbit("none", (), ())
    with pytest.raises(BadPlan, match="sum to 1"):
        Orbit("uneven", (lambda x: x,), (0.5,))
    cut = Orbit.even("cut", (lambda x: x[:, :, 1:],))
    with pytest.raises(BadData, match="changes the shape"):
        orbit_bound(x, _flat, _open(16, 1.0), Rng(0), orbit=cut)
    with pytest.raises(BadData, match="at least 40"):
        orbit_bound(x[:39], _flat, _open(16, 1.0), Rng(0), orbit=SIGNS)
    with pytest.raises(BadData, match="one of each"):
        orbit_bound(x, _flat, _open(16, 1.0), Rng(0), orbit=SIGNS, labels=torch.zeros(3).long())
    with pytest.raises(BadData, match="features hold"):
        orbit_bound(x, lambda a: _flat(a) * math.nan, _open(16, 1.0), Rng(0), orbit=SIGNS)
    silent = orbit_bound(x, _flat, Identity(), Rng(0), orbit=SIGNS)
    assert (silent.value, silent.kind) == (0, Kind.THEOREM)
