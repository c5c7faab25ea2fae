"""Reconstruction risk where it is known: the mean image, linear codes, normal images, an oracle."""

import math

import pytest
import torch
from scipy.stats import beta
from torch import Tensor

from splitveil.attacks import MeanImage, Ridge
from splitveil.errors import BadData, BadPlan
from splitveil.estimators import Whitening
from splitveil.measures import (
    linear_code_log_ratio,
    linear_code_ratio,
    risk,
    risk_per_image,
)
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.testing.conformance.measures import MeasureCase, MeasureConformance
from splitveil.testing.oracles import LinearGaussian


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Rng(seed).torch(), dtype=torch.float64)


def _images(n: int, d: int, *, seed: int = 0) -> Tensor:
    """Normal images of falling spectrum about a mean that is not zero."""
    turn = torch.linalg.qr(_normal(d, d, seed=99)).Q
    return (_normal(n, d, seed=seed) * torch.logspace(0, -1.5, d).double()) @ turn + 0.5


def _restored(x: Tensor, whitening: Whitening, size: int) -> Tensor:
    """The whitening's first `size` coordinates of x, and the mean elsewhere."""
    z = whitening.coordinates(x - whitening.mean)[:, :size]
    return (
        whitening.mean
        + (z * whitening.variances[:size].sqrt())
        @ (whitening.axes[:, :size] * whitening.variances[:size].sqrt()).T
    )


def _attacked(n: int, rng: Rng) -> tuple[Tensor, ...]:
    x = torch.rand(n, 2, 3, 4, generator=rng.child("x").torch())
    noise = torch.randn(x.shape, generator=rng.child("noise").torch())
    auxiliary = torch.rand(n, 2, 3, 4, generator=rng.child("auxiliary").torch())
    return x + 0.1 * noise, x, auxiliary


def _perfect(n: int, rng: Rng) -> tuple[Tensor, ...]:
    _, x, auxiliary = _attacked(n, rng)
    return x.clone(), x, auxiliary


class TestRisk(MeasureConformance):
    @pytest.fixture
    def case(self) -> MeasureCase:
        return MeasureCase(
            measure=lambda i, rng: risk(i[0], i[1], Whitening.fit(i[2]), rng).ratio,
            inputs=_attacked,
            unit="ratio",
            ideal=_perfect,
            best=math.inf,
            least=2,
            ordered=True,  # products of matrices round otherwise in another order
            variants={
                "published": lambda i, rng: (
                    risk(i[0], i[1], Whitening.published(i[2]), rng).log_ratio
                ),
                "few images": lambda i, rng: risk(i[0], i[1], Whitening.fit(i[2][:3]), rng).ratio,
            },
        )


class TestChannelUsed(MeasureConformance):
    @pytest.fixture
    def case(self) -> MeasureCase:
        def used(inputs: tuple[Tensor, ...], rng: Rng) -> Quantity:
            found = risk(inputs[0], inputs[1], Whitening.fit(inputs[2]), rng, code=3).code
            assert found is not None
            return found.used

        return MeasureCase(measure=used, inputs=_attacked, unit="share", least=2, ordered=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("published", [False, True])
def test_the_mean_image_scores_exactly_one(dtype: torch.dtype, published: bool) -> None:
    x = _images(300, 40)
    whitening = Whitening.published(x[:200]) if published else Whitening.fit(x[:200])
    answers = whitening.mean.to(dtype).expand(100, 40)
    found = risk(answers, x[200:].to(dtype), whitening, Rng(0), code=5)
    assert (found.ratio.low, found.ratio.value, found.ratio.high) == (1, 1, 1)
    assert found.log_ratio.value == 0
    assert found.code is not None
    assert found.code.used.value == 0


@pytest.mark.parametrize("share", [-1.0, 0.5, 0.9])
def test_a_step_towards_the_image_is_scored_by_what_is_left(share: float) -> None:
    x = _images(60, 12)
    whitening = Whitening.fit(x)
    answers = whitening.mean + share * (x - whitening.mean)
    ratio = risk_per_image(answers, x, whitening)
    assert torch.allclose(ratio, torch.full((60,), 1 / (1 - share)).double(), rtol=1e-9)
    log_ratio = risk(answers, x, whitening, Rng(0)).log_ratio
    assert log_ratio.value == pytest.approx(-math.log(1 - share))


def test_the_ratio_is_that_of_mahalanobis_distances() -> None:
    x = _images(80, 10)
    answers = x + 0.3 * _normal(80, 10, seed=3)
    inverse = torch.linalg.inv(x.T.cov())

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum("ni,ij,nj->n", a - b, inverse, a - b).sqrt()

    expected = distance(x, x.mean(0)) / distance(x, answers)
    for whitening in (Whitening.fit(x, retained=1.0), Whitening.published(x, precision="float64")):
        assert torch.allclose(risk_per_image(answers, x, whitening), expected, rtol=1e-9)
        found = risk(answers, x, whitening, Rng(0))
        assert found.ratio.value == pytest.approx(float(expected.mean()))
        assert found.log_ratio.value == pytest.approx(float(expected.log().mean()))
        assert found.ratio.kind is Kind.MEASURED


@pytest.mark.parametrize("size", [1, 4, 11])
def test_a_linear_code_uses_its_channel_whole(size: int) -> None:
    """On the auxiliary images themselves the root of the ratio of sums is exactly √(r / (r-k))."""
    x = _images(200, 16)
    whitening = Whitening.fit(x, retained=0.999)
    answers = _restored(x, whitening, size)
    found = risk(answers, x, whitening, Rng(0), code=size)
    assert found.code is not None
    assert found.code.used.value == pytest.approx(1, abs=1e-10)
    assert found.code.ratio.value == pytest.approx(found.ratio.value, rel=1e-10)
    assert found.code.log_ratio.value == pytest.approx(found.log_ratio.value, abs=1e-10)
    r = found.directions
    kept, left = (
        float(whitening.coordinates(x - y).square().sum()) for y in (whitening.mean, answers)
    )
    assert math.sqrt(kept / left) == pytest.approx(math.sqrt(r / (r - size)), rel=1e-10)


def test_a_code_as_wide_as_the_images_restores_everything() -> None:
    x = _images(60, 8)
    whitening = Whitening.fit(x, retained=1.0)
    found = risk(whitening.mean + 0.5 * (x - whitening.mean), x, whitening, Rng(0), code=20)
    assert found.code is not None
    assert found.code.ratio.value == found.code.log_ratio.value == math.inf
    assert found.code.used.value == pytest.approx(0.75)
    assert found.retained == pytest.approx(1)


def test_directions_beyond_the_retained_variance_do_not_count() -> None:
    x = _images(200, 16)
    whitening = Whitening.fit(x, retained=0.9)
    inside = _restored(x, whitening, whitening.directions)
    assert float(risk_per_image(inside, x, whitening).min()) > 1e10
    assert float((inside - x).abs().max()) > 0.01


@pytest.mark.parametrize(("directions", "code"), [(300, 100), (60, 20)])
def test_normal_images_follow_the_formula(directions: int, code: int) -> None:
    """Within 2 % of √(r / (r-k)) and within four standard errors of the exact law."""
    x = _normal(12_000, directions) * torch.logspace(0, -1, directions).double()
    whitening = Whitening.fit(x, retained=1.0)
    assert whitening.directions == directions
    ratios = risk_per_image(_restored(x, whitening, code), x, whitening)
    mean, error = float(ratios.mean()), float(ratios.std()) / math.sqrt(len(x))
    assert mean == pytest.approx(math.sqrt(directions / (directions - code)), rel=0.02)
    assert mean == pytest.approx(linear_code_ratio(directions, code).value, abs=4 * error)
    logs = ratios.log()
    exact = linear_code_log_ratio(directions, code).value
    assert float(logs.mean()) == pytest.approx(exact, abs=4 * float(logs.std()) / math.sqrt(len(x)))


@pytest.mark.parametrize(("r", "k"), [(3072, 100), (10, 1), (10, 8), (5, 0)])
def test_the_law_of_a_linear_code_is_a_beta_law(r: int, k: int) -> None:
    ratio, log_ratio = linear_code_ratio(r, k), linear_code_log_ratio(r, k)
    assert ratio.kind is Kind.MODEL
    if k == 0:
        assert (ratio.value, log_ratio.value) == (1, 0)
        return
    law = beta((r - k) / 2, k / 2)
    assert ratio.value == pytest.approx(law.expect(lambda b: b**-0.5), rel=1e-5)
    assert log_ratio.value == pytest.approx(law.expect(lambda b: -math.log(b) / 2), rel=1e-5)


def test_a_linear_code_that_leaves_next_to_nothing_is_infinitely_good() -> None:
    assert linear_code_ratio(10, 9).value == math.inf
    assert math.isfinite(linear_code_log_ratio(10, 9).value)
    assert linear_code_log_ratio(10, 10).value == linear_code_ratio(10, 30).value == math.inf


def test_any_invertible_affine_map_of_the_pixels_changes_nothing_at_full_rank() -> None:
    x, auxiliary = _images(50, 9), _images(300, 9, seed=1)
    answers = x + 0.2 * _normal(50, 9, seed=2)
    matrix = _normal(9, 9, seed=3)

    def scored(*images: Tensor) -> Tensor:
        y, original, others = images
        return risk_per_image(y, original, Whitening.fit(others, retained=1.0))

    plain = scored(answers, x, auxiliary)
    turned = scored(*(7 + images @ matrix for images in (answers, x, auxiliary)))
    assert torch.allclose(plain, turned, rtol=1e-8)


@pytest.mark.parametrize("block", [1, 13, 500])
def test_blocks_change_nothing(block: int) -> None:
    x, auxiliary = _images(90, 30), _images(300, 30, seed=1)
    answers = x + 0.1 * _normal(90, 30, seed=2)
    whole = risk_per_image(answers, x, Whitening.fit(auxiliary))
    whitening = Whitening.fit(auxiliary.flip(0), images_a_block=block)  # sums round otherwise
    parts = risk_per_image(answers, x, whitening, images_a_block=block)
    assert torch.allclose(whole, parts, rtol=1e-10, atol=0)
    found = risk(answers, x, whitening, Rng(0), code=4, images_a_block=block)
    assert found.ratio.value == pytest.approx(float(whole.mean()), rel=1e-10)


def test_the_type_of_the_input_changes_little() -> None:
    x, auxiliary = _images(90, 30), _images(300, 30, seed=1)
    answers = x + 0.1 * _normal(90, 30, seed=2)
    double = risk(answers, x, Whitening.fit(auxiliary), Rng(0), code=4)
    single = risk(answers.float(), x.float(), Whitening.fit(auxiliary.float()), Rng(0), code=4)
    assert double.code is not None
    assert single.code is not None
    for a, b in (
        (double.ratio, single.ratio),
        (double.log_ratio, single.log_ratio),
        (double.code.ratio, single.code.ratio),
        (double.code.used, single.code.used),
    ):
        assert a.value == pytest.approx(b.value, rel=1e-5)


def test_fewer_images_than_values_score_what_they_span_and_say_so() -> None:
    x, auxiliary = _images(40, 50), _images(20, 50, seed=1)
    found = risk(x + 0.1, x, Whitening.fit(auxiliary, retained=1.0), Rng(0))
    assert found.directions == 19
    assert math.isfinite(found.ratio.value)
    assert any("do not span" in words for words in found.ratio.assumptions)
    enough = risk(x + 0.1, x, Whitening.fit(_images(60, 50)), Rng(0))
    assert not any("do not span" in words for words in enough.ratio.assumptions)


def test_attacks_of_the_catalogue_are_scored_as_the_oracle_says() -> None:
    """X ~ N(m, S), Z = A X + s E: the share used tends to (d - tr S⁻¹P) / k, P the posterior's."""
    problem = LinearGaussian.random(8, 3, Rng(1), sigma=0.3)
    s, a = problem.covariance, problem.matrix
    c = a @ s @ a.T + problem.sigma**2 * torch.eye(3, dtype=torch.float64)
    posterior = s - s @ a.T @ torch.linalg.solve(c, a @ s)
    expected = (8 - float(torch.trace(torch.linalg.solve(s, posterior)))) / 3
    knowledge = problem.knowledge(6000, Rng(2))
    whitening = Whitening.fit(knowledge.auxiliary.x, retained=1.0)
    observation, x = problem.observe(6000, Rng(4))
    ridge = Ridge().fit(knowledge, Rng(3))(observation, Rng(5))
    mean = MeanImage().fit(knowledge, Rng(3))(observation, Rng(5))
    found = risk(ridge, x, whitening, Rng(0), code=3).code
    assert found is not None
    assert found.used.value == pytest.approx(expected, rel=0.05)
    assert 0.3 < expected < 1
    assert risk(mean, x, whitening, Rng(0)).ratio.value == 1


def test_an_image_that_is_the_mean_and_one_that_came_back() -> None:
    x = _images(30, 6)
    whitening = Whitening.fit(x)
    x[0] = whitening.mean
    same, other = x.clone(), x + 0.1
    assert risk_per_image(same, x, whitening).tolist() == [1.0] + [math.inf] * 29
    assert risk_per_image(other, x, whitening)[0] == 0
    found = risk(other, x, whitening, Rng(0))
    assert (found.log_ratio.value, found.ratio.low > 0) == (-math.inf, True)
    other[1] = x[1]
    with pytest.raises(BadData, match="does not exist"):
        risk(other, x, whitening, Rng(0))
    with pytest.raises(BadData, match="no channel"):
        risk(other[:1], x[:1], whitening, Rng(0), code=1)


def test_one_image_says_nothing_of_others() -> None:
    x = _images(30, 6)
    found = risk(x[:1] + 0.1, x[:1], Whitening.fit(x), Rng(0), code=2)
    assert found.code is not None
    assert (found.ratio.low, found.ratio.high) == (0, math.inf)
    assert (found.code.used.low, found.code.used.high) == (-math.inf, math.inf)


def test_bad_input_is_refused() -> None:
    x = _images(30, 6)
    whitening = Whitening.fit(x)
    broken = x.clone()
    broken[3, 2] = math.nan
    for answers, truth, words in (
        (x[:3], x, "one reconstruction"),
        (x[:0], x[:0], "nothing"),
        (broken, x, "reconstructions hold 1"),
        (x, broken, "originals hold 1"),
        (x[:, :5], x[:, :5], "values"),
        (x[:, :1], x[:, :1], "values"),
    ):
        with pytest.raises(BadData, match=words):
            risk(answers, truth, whitening, Rng(0))
    with pytest.raises(BadPlan, match="at least one number"):
        risk(x, x, whitening, Rng(0), code=0)
    with pytest.raises(BadPlan, match="block"):
        risk_per_image(x, x, whitening, images_a_block=0)
    for directions, code in ((0, 0), (3, -1)):
        with pytest.raises(BadPlan, match="directions"):
            linear_code_ratio(directions, code)
