"""The genie-gallery bound and information bounds on problems with known answers."""

import math

import pytest
import torch
from scipy import stats

from splitveil.errors import BadData, BadPlan
from splitveil.estimators import ClassMoments
from splitveil.measures import capacity_bound, genie_bound, payload_bound, radius
from splitveil.quantities import Direction, Kind
from splitveil.release import (
    ClippedGaussian,
    DitheredFeatures,
    Identity,
    Lattice,
    parse_release,
)
from splitveil.rng import Rng
from splitveil.testing.oracles import LinearGaussian


def _gallery_value(problem: LinearGaussian, size: int, galleries: int) -> tuple[float, float]:
    """B_N by its definition, one hidden item a gallery: mean and standard error."""
    x = problem.targets(size * galleries, Rng(91)).reshape(galleries, size, -1)
    noise = torch.randn(galleries, len(problem.offset), generator=Rng(92).torch())
    f = x @ problem.matrix.T
    z = f[:, 0] + problem.sigma * noise
    scores = -(z[:, None] - f).square().sum(2) / (2 * problem.sigma**2)
    weights = scores.softmax(1)[..., None]
    middle = (weights * x).sum(1, keepdim=True)
    errors = (weights * (x - middle).square()).sum(1).mean(1)
    return float(errors.mean()), float(errors.std()) / math.sqrt(galleries)


def test_genie_bound_is_the_gallery_value_of_its_definition() -> None:
    problem = LinearGaussian.random(4, 4, Rng(2), sigma=1.0)
    value, error = _gallery_value(problem, 10, 20_000)
    x = problem.targets(4000, Rng(5))
    found = genie_bound(
        x, problem.partition().features(x), problem.release(), Rng(6), galleries=400
    )
    assert found.value == pytest.approx(value, abs=5 * error + 0.05 * value)
    assert found.value < value + 2 * error


def test_genie_bound_rarely_exceeds_the_least_error() -> None:
    """40 problems: a 95 % bound may fail 2 + 4 sqrt(1.9) times, were B_N as large as the mmse."""
    failed = 0
    for seed in range(40):
        rng = Rng(seed, ("genie",))
        problem = LinearGaussian.random(
            1 + seed % 5, 1 + seed % 7, rng, sigma=(0.3, 1.0, 3.0)[seed % 3]
        )
        x = problem.targets(1000, rng)
        features = problem.partition().features(x)
        bound = genie_bound(x, features, problem.release(), rng.child("bound"), draws=1)
        assert bound.is_bound
        assert bound.kind is Kind.CONFIDENCE
        failed += bound.value > problem.mmse
    assert failed <= stats.binom.ppf(0.999, 40, 0.05)


def test_genie_bound_rises_with_the_gallery_and_the_noise() -> None:
    rng = Rng(1)
    values = []
    for n, sigma in ((200, 0.5), (4000, 0.5), (4000, 2.0)):
        problem = LinearGaussian.random(3, 3, rng, sigma=sigma)
        x = problem.targets(n, rng)
        features = problem.partition().features(x)
        values.append(genie_bound(x, features, problem.release(), rng).value)
    assert 0 < values[0] < values[1] < values[2]


def _images(n: int = 400) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    y = torch.arange(n) % 4
    generator = Rng(3, ("images",)).torch()
    x = torch.rand(4, 1, 3, 3, generator=generator)[y] * 0.5
    x = x + 0.5 * torch.rand(n, 1, 3, 3, generator=generator)
    return x, 2 * x.flatten(1), y


def test_drowning_noise_hides_all_but_the_population() -> None:
    x, features, y = _images(2000)
    loud = ClippedGaussian(features.mean(0), 10.0, 1e4)
    bound = genie_bound(x, features, loud, Rng(0))
    variance = float((x - x.mean(0)).square().mean())
    assert bound.value == pytest.approx(variance, rel=0.05)
    within = torch.stack([x[y == c].var(0, correction=0).mean() for c in range(4)]).mean()
    known = genie_bound(x, features, loud, Rng(0), labels=y)
    assert known.value == pytest.approx(float(within), rel=0.1)
    assert known.value < bound.value


def test_quiet_noise_proves_nothing() -> None:
    x, features, _ = _images()
    assert genie_bound(x, features, ClippedGaussian(features[0], 10.0, 1e-4), Rng(0)).value == 0


def test_more_sends_lower_the_bound() -> None:
    x, features, _ = _images(1000)
    release = ClippedGaussian(features.mean(0), 10.0, 2.0)
    one = genie_bound(x, features, release, Rng(0))
    four = genie_bound(x, features, release, Rng(0), sends=4)
    assert 0 < four.value < one.value
    halved = ClippedGaussian(features.mean(0), 10.0, 1.0)
    assert four.value == pytest.approx(genie_bound(x, features, halved, Rng(1)).value, rel=0.2)


def test_recoding_features_changes_no_bound() -> None:
    x, features, _ = _images()
    rotation = torch.linalg.qr(torch.randn(9, 9, generator=Rng(4).torch())).Q
    plain = genie_bound(x, features, ClippedGaussian(features[0], 100.0, 2.0), Rng(0), draws=40)
    scaled = genie_bound(
        x, 8 * features, ClippedGaussian(8 * features[0], 800.0, 16.0), Rng(0), draws=40
    )
    turned = features @ rotation
    other = genie_bound(x, turned, ClippedGaussian(turned[0], 100.0, 2.0), Rng(0), draws=40)
    assert scaled.value == pytest.approx(plain.value, rel=1e-4)
    assert other.value == pytest.approx(plain.value, rel=0.1)


def test_post_processing_keeps_the_bound_of_the_noise() -> None:
    x, features, _ = _images()
    bare = parse_release("gaussian(sigma=3)").fit(features)
    coarse = parse_release("gaussian(sigma=3)+quantise(bits=4)").fit(features)
    assert genie_bound(x, features, coarse, Rng(0)) == genie_bound(x, features, bare, Rng(0))


def test_dither_hides_what_shares_a_cell() -> None:
    x, features, _ = _images()
    wide = DitheredFeatures(Lattice(low=0.0, step=4.0, bits=2))
    assert genie_bound(x, features, wide, Rng(0)).value > 0
    fine = DitheredFeatures(Lattice(low=0.0, step=1e-3, bits=8))
    assert genie_bound(x, 0.1 * features, fine, Rng(0)).value == 0


@pytest.mark.parametrize("written", ["none", "half", "quantise(bits=1)"])
def test_deterministic_release_is_given_nothing(written: str) -> None:
    x, features, _ = _images()
    bound = genie_bound(x, features, parse_release(written).fit(features), Rng(0))
    assert (bound.value, bound.kind, bound.direction) == (0, Kind.THEOREM, Direction.LOWER)
    assert "no information-theoretic guarantee" in bound.assumptions[0]


def test_bad_galleries_are_refused() -> None:
    x, features, _ = _images()
    release = ClippedGaussian(features[0], 1.0, 1.0)
    with pytest.raises(BadData, match="at least 40"):
        genie_bound(x[:39], features[:39], release, Rng(0))
    with pytest.raises(BadData, match="one of each"):
        genie_bound(x, features[:5], release, Rng(0))
    with pytest.raises(BadPlan, match="20 galleries"):
        genie_bound(x, features, release, Rng(0), galleries=5)
    with pytest.raises(BadData, match="features hold"):
        genie_bound(x, features * math.nan, release, Rng(0))


def test_capacity_exceeds_the_exact_information() -> None:
    """Gaussian inputs of power d through an identity head carry less than the ball allows."""
    eye, zero = torch.eye(6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
    problem = LinearGaussian(zero, eye, eye, zero, 0.7)
    release = ClippedGaussian(torch.zeros(6), math.sqrt(6), 0.7)
    bound = capacity_bound(release, 6)
    assert bound.value == pytest.approx(problem.information)
    assert bound.is_bound
    assert capacity_bound(release, 6, sends=3).value == pytest.approx(3 * bound.value)
    assert payload_bound(release, 6).value == pytest.approx(6 * 32 * math.log(2))
    assert payload_bound(Identity(), 6) == capacity_bound(Identity(), 6).__class__(
        **{
            **capacity_bound(Identity(), 6).__dict__,
            "assumptions": ("the payload is all that is sent",),
        }
    )


def test_information_bounds_refuse_nothing_sent() -> None:
    with pytest.raises(BadPlan, match="at least 1"):
        payload_bound(Identity(), 0)


def test_radius_says_it_is_a_proxy() -> None:
    moments = ClassMoments(4, 9)
    _, features, y = _images()
    moments.update(features, y, torch.arange(400))
    found = radius(moments.result())
    assert {"radius", "v", "rho", "nc1", "scatter_within"} <= set(found)
    assert all(q.kind is Kind.PROXY and not q.is_bound for q in found.values())
    assert any("rescaling" in words for words in found["radius"].assumptions)
    assert found["v"].value == pytest.approx(found["scatter_within"].value / 9)
    assert found["rho"].high <= 1


def test_radius_of_unlabelled_images_is_not_given() -> None:
    moments = ClassMoments(None, 9)
    _, features, _ = _images()
    moments.update(features, None, torch.arange(400))
    found = radius(moments.result())
    assert list(found) == ["scatter_total"]
    assert any("not a class" in words for words in found["scatter_total"].assumptions)


def test_radius_of_one_class_has_no_ratios() -> None:
    moments = ClassMoments(4, 9)
    _, features, _ = _images()
    moments.update(features, torch.zeros(400, dtype=torch.int64), torch.arange(400))
    assert not {"rho", "nc1"} & set(radius(moments.result()))
