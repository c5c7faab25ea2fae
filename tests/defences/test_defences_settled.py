"""Noise settled after every epoch: proved, from Fisher information, or shaped to the answer."""

import math
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from hardening import images, net
from torch import Tensor, nn

from splitveil.data import LabelledImages
from splitveil.defences import (
    Calibrated,
    Calibration,
    Component,
    Fisher,
    FisherShannon,
    Hardened,
    UtilityNoise,
    harden,
    parse_components,
)
from splitveil.defences.fsinfo import Slopes
from splitveil.defences.settled import settled
from splitveil.errors import AuditError, BadData, BadPlan
from splitveil.estimators.sensitivity import answer_curvature
from splitveil.measures import NoiseNeeded, dfil, genie_bound, noise_needed
from splitveil.quantities import Direction, Kind
from splitveil.release import (
    ChainedRelease,
    ClippedGaussian,
    GaussianNoise,
    ShapedGaussian,
    powered_variances,
)
from splitveil.rng import Rng
from splitveil.testing.conformance.defences import DefenceConformance
from splitveil.testing.oracles import LinearGaussian
from splitveil.training import Schedule

SHORT = Schedule(epochs=2, batch=64, learning_rate=1e-2)
ONCE = Schedule(epochs=1, batch=64, learning_rate=1e-2)


class TestSettled(DefenceConformance):
    @pytest.fixture(
        params=[
            pytest.param("calibrated(0.002)", marks=pytest.mark.slow),
            "fisher(30,shape=values)",
            "fsinfo(0.3)",
            "gaussian-dp(epsilon=300,sends=2)",
            "utility-noise(0.5)",
        ]
    )
    def component(self, request: pytest.FixtureRequest) -> Component:
        (found,) = parse_components(request.param)
        return found


def run(text: str, count: int = 1024, **changes: object) -> Hardened:
    settings: dict[str, object] = {"schedule": SHORT, "rng": Rng(0), "patience": None, "cut": "3"}
    settings |= changes
    return harden(net(), images(count), parse_components(text), **settings)  # type: ignore[arg-type]


def affine(head: Tensor, tail: Tensor, *, count: int = 400, scale: float = 1.0) -> Calibration:
    """Uniform images through a linear head and a linear tail."""
    pixels = head.shape[1]
    x = scale * torch.rand(2 * count, 1, 1, pixels, generator=Rng(3).torch())
    y = torch.arange(2 * count) % len(tail)

    def encode(images: Tensor) -> Tensor:
        return images.flatten(1) @ head.T

    return Calibration(
        x=x[:count],
        y=y[:count],
        z=encode(x[:count]),
        head=encode,
        tail=lambda z: z @ tail.T,
        fresh=LabelledImages(x[count:], y[count:], torch.arange(count)),
        rng=Rng(0),
    )


def _linear(rows: int, columns: int, name: str) -> Tensor:
    return torch.randn(rows, columns, generator=Rng(0, (name,)).torch())


# --- calibrated --------------------------------------------------------------


def test_the_error_asked_for_is_proved_on_fresh_images() -> None:
    found = run("calibrated(0.01)", schedule=ONCE)
    assert found.partition is not None
    release = found.partition.release
    assert isinstance(release, ClippedGaussian)
    (statement,) = found.statements
    quantity = statement.quantity
    assert quantity.value >= 0.01
    assert quantity.kind is Kind.CONFIDENCE
    assert quantity.direction is Direction.LOWER
    assert quantity.is_bound
    assert quantity.level == 0.95
    assert quantity.n == 240  # 20 galleries of 12 out of 256 images
    assert "0.0" in str(statement)
    assert "theorem at confidence 95 %, n = 240" in str(statement)
    probe = images(1024).probe
    with torch.no_grad():
        z = found.partition.features(probe.x)
    again = genie_bound(probe.x, z, release, Rng(99))
    assert again.value > 0.9 * 0.01
    # and not much more noise than it takes
    half = ClippedGaussian(release.centre, release.radius, release.sigma / 2)
    assert genie_bound(probe.x, z, half, Rng(99)).value < 0.01


def test_noise_in_training_is_about_that_which_ships() -> None:
    calibration = affine(_linear(8, 4, "head"), _linear(3, 8, "tail"))
    component = Calibrated(0.03)
    part = settled(8, component.clip, component.fit)
    assert part.release is not None
    _, first = part.release.send(calibration.z, Rng(1).torch())
    shipped = part.release.fitted(calibration).release
    assert isinstance(shipped, ClippedGaussian)
    sent, scale = part.release.send(calibration.z, Rng(1).torch())
    assert scale is not None
    assert float(scale) == pytest.approx(shipped.sigma, rel=1e-5)
    torch.testing.assert_close(sent, shipped(calibration.z, Rng(1).torch()), rtol=1e-4, atol=1e-4)
    assert first is not None
    assert float(first) != pytest.approx(shipped.sigma, rel=1e-2)
    # a search between epochs is cheaper, not another
    between = Calibration(**(vars(calibration) | {"final": False}))
    rough = component.fit(between)
    assert not rough.statements
    assert isinstance(rough.release, ClippedGaussian)
    assert 0.7 < rough.release.sigma / shipped.sigma < 1.4


def test_more_error_more_sends_or_a_known_label_need_more_noise() -> None:
    calibration = affine(_linear(8, 4, "head"), _linear(3, 8, "tail"))

    def sigma(component: Calibrated) -> float:
        release = component.fit(calibration).release
        assert isinstance(release, ClippedGaussian)
        return release.sigma

    plain = sigma(Calibrated(0.02))
    assert sigma(Calibrated(0.04)) > 1.2 * plain
    assert sigma(Calibrated(0.02, label="known")) > plain
    # R sends carry what one of noise s / sqrt(R) does
    assert sigma(Calibrated(0.02, sends=4)) == pytest.approx(2 * plain, rel=0.15)


def test_a_shortfall_raises_the_noise_and_then_is_an_error(monkeypatch: Any) -> None:
    calibration = affine(_linear(8, 4, "head"), _linear(3, 8, "tail"))
    found = Calibrated(0.02).fit(calibration)
    assert isinstance(found.release, ClippedGaussian)

    def short_by(factor: float) -> None:
        def needed(*given: Any, **settings: Any) -> NoiseNeeded:
            honest = noise_needed(*given, **settings)
            return replace(honest, sigma=honest.sigma / factor)

        monkeypatch.setattr("splitveil.defences.calibrated.noise_needed", needed)

    short_by(2)
    raised = Calibrated(0.02).fit(calibration)
    assert isinstance(raised.release, ClippedGaussian)
    assert raised.release.sigma > 0.8 * found.release.sigma
    (statement,) = raised.statements
    assert statement.quantity.value >= 0.02
    assert re.search("try [3-6] of at most 8, each at 99.38 %", statement.quantity.assumptions[-1])
    short_by(100)
    with pytest.raises(BadPlan, match=r"400 fresh images noise of .* ask for less, or give more"):
        Calibrated(0.02).fit(calibration)


def test_it_proves_behind_other_releases_and_before_them() -> None:
    found = run("topk(keep=0.5)+calibrated(0.01)+quantise(6)", 512, schedule=ONCE)
    assert found.partition is not None
    assert isinstance(found.partition.release, ChainedRelease)
    assert len(found.statements) == 1


# --- fisher ------------------------------------------------------------------


def test_noise_of_a_linear_head_in_closed_form() -> None:
    """S² = R |A|² / (d dFIL) and, by value, n_i = R |a_i| sum |a_j| / (d dFIL)."""
    a = _linear(8, 4, "head")
    calibration = affine(a, _linear(3, 8, "tail"), scale=1e-3)
    # unclipped, since nothing reaches the ball's edge with every image inside
    even = Fisher(50.0, sends=3, clip=1.0, probes=4).fit(calibration).release
    assert isinstance(even, ClippedGaussian)
    assert even.sigma**2 == pytest.approx(3 * float(a.square().sum()) / (4 * 50), rel=1e-3)
    shaped = Fisher(50.0, shape="values", clip=1.0, probes=4).fit(calibration).release
    assert isinstance(shaped, ShapedGaussian)
    norms = a.norm(dim=1)
    expected = norms * norms.sum() / (4 * 50)
    torch.testing.assert_close(shaped.sigma.square(), expected, rtol=2e-3, atol=0)
    power = float(shaped.sigma.square().sum())
    alone = Fisher(50.0, clip=1.0, probes=4).fit(calibration).release
    assert isinstance(alone, ClippedGaussian)
    assert power < 8 * alone.sigma**2


@pytest.mark.parametrize("shape", ["even", "values"])
def test_a_network_is_left_the_dfil_asked_for(shape: str) -> None:
    found = run(f"fisher(40,shape={shape},probes=36)", schedule=ONCE)
    assert found.partition is not None
    (statement,) = found.statements
    assert statement.quantity.kind is Kind.PROXY
    assert not statement.quantity.is_bound
    assert statement.quantity.value == pytest.approx(40, rel=0.05)
    release = found.partition.release
    probe = images(1024).probe.x
    left = dfil(found.partition.head, probe, release, Rng(5), probes=999)
    assert left.value == pytest.approx(40, rel=0.05)


# --- fsinfo ------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_a_linear_head_is_left_the_information_asked_for(seed: int) -> None:
    """Independent Gaussian pixels through a linear head: FSInfo is I(X; Z) / d, and tight."""
    problem = LinearGaussian.random(5, 3 + seed, Rng(seed, ("fsinfo",)))
    calibration = affine(problem.matrix.float(), _linear(3, 3 + seed, "tail"), scale=1e-3)
    sends = 1 + seed % 3
    found = FisherShannon(0.2 * (1 + seed), sends=sends, clip=1.0, probes=20).fit(calibration)
    release = found.release
    assert isinstance(release, ClippedGaussian)
    variance = float(calibration.x.double().var(0, correction=0).mean())
    white = LinearGaussian(
        torch.zeros(5, dtype=torch.float64),
        variance * torch.eye(5, dtype=torch.float64),
        problem.matrix,
        torch.zeros(3 + seed, dtype=torch.float64),
        release.sigma / math.sqrt(sends),
    )
    nats = 0.2 * (1 + seed)
    # a whole ball's edge is touched by one image, whose slope along its radius is clipped
    assert white.information / 5 == pytest.approx(nats, rel=2e-3)
    # no attacker of such images does better, and where all directions are alike one does as well
    assert white.mmse >= variance * math.exp(-2 * nats) * (1 - 5e-3)
    (statement,) = found.statements
    assert statement.quantity.kind is Kind.PROXY
    assert not statement.quantity.is_bound
    assert statement.quantity.value == pytest.approx(nats, rel=2e-3)


def test_few_rows_are_corrected_upwards() -> None:
    a = _linear(40, 16, "head")
    calibration = affine(a, _linear(3, 40, "tail"), scale=1e-3)
    few = Slopes.of(lambda x: x.flatten(1) @ a.T, calibration.x[:16], Rng(0), probes=4)
    exact = float((0.2 * torch.linalg.eigvalsh((a.T @ a).double())).log1p().mean()) / 2
    plain = float((0.2 * few.whole).log1p().mean()) / 2
    assert plain < 0.97 * exact
    assert abs(few.nats(0.2) - exact) < 0.5 * (exact - plain)
    # the trace form is never exceeded
    assert few.nats(1e-9) <= 0.5e-9 * float(few.whole.mean())


def test_the_trace_form_never_asks_for_less_noise() -> None:
    calibration = affine(_linear(8, 4, "head"), _linear(3, 8, "tail"))
    variance = float(calibration.x.double().var(0, correction=0).mean())

    def sigma(component: Fisher | FisherShannon) -> float:
        release = component.fit(calibration).release
        assert isinstance(release, ClippedGaussian)
        return release.sigma

    for nats in (0.01, 0.5, 2.0):
        trace = sigma(Fisher(math.expm1(2 * nats) / variance, probes=8))
        assert sigma(FisherShannon(nats, probes=8)) <= trace * (1 + 1e-6)
    # with next to nothing left both are one
    assert sigma(FisherShannon(1e-4, probes=8)) == pytest.approx(
        sigma(Fisher(math.expm1(2e-4) / variance, probes=8)), rel=1e-2
    )


def test_a_network_is_left_the_fsinfo_asked_for() -> None:
    found = run("fsinfo(0.2,probes=36)", schedule=ONCE)
    (statement,) = found.statements
    quantity = statement.quantity
    assert quantity.value == pytest.approx(0.2, rel=0.05)
    assert quantity.low < quantity.value < quantity.high < 0.25


# --- utility-noise -----------------------------------------------------------


def test_noise_goes_where_a_linear_tail_does_not_look() -> None:
    head = torch.eye(6)
    tail = torch.zeros(3, 6)
    tail[:, :3] = 5 * _linear(3, 3, "tail")
    tail[:, 3:] = 0.01 * _linear(3, 3, "rest")
    calibration = affine(head, tail)
    component = UtilityNoise(0.5)
    found = component.fit(calibration)
    release = found.release
    assert isinstance(release, ShapedGaussian)
    even = GaussianNoise(sigma=0.5).fit(calibration.z)
    noise = release.sigma.double().square()
    assert float(noise.mean()) == pytest.approx(even.sigma**2, rel=1e-5)
    assert float(noise[3:].min()) > 2 * float(noise[:3].max())
    # the allocation for the curvature of the closed form, at what is sent
    sent = even(calibration.z, calibration.rng.child("noise").torch())
    p = (sent @ tail.T).softmax(1).double()
    w = tail.double()
    u = (p @ w.square() - (p @ w).square()).mean(0)
    v = calibration.z.double().var(0, correction=0)
    expected = powered_variances(v, u.clamp_min(1e-4 * float(u.mean())), even.sigma**2)
    torch.testing.assert_close(noise, expected, rtol=1e-4, atol=0)
    (statement,) = found.statements
    share = float((u * expected).sum() / u.sum()) / even.sigma**2
    assert statement.quantity.value == pytest.approx(share, rel=1e-2)
    assert statement.quantity.value < 1
    assert statement.quantity.kind is Kind.PROXY


def test_shaped_noise_costs_the_answer_less_at_equal_power() -> None:
    partition = run("onehot", schedule=replace(SHORT, epochs=6)).partition
    assert partition is not None
    data = images(1024)
    found = UtilityNoise(0.7).fit(Calibration.of(partition, data.validation, data.probe, Rng(1)))
    shaped = found.release
    assert isinstance(shaped, ShapedGaussian)
    power = float(shaped.sigma.double().square().mean())
    even = ClippedGaussian(shaped.ball.centre, shaped.ball.radius, math.sqrt(power))
    with torch.no_grad():
        z = partition.features(data.probe.x)
    y = data.probe.y
    assert y is not None

    def loss(noisy: ClippedGaussian | ShapedGaussian) -> float:
        draws = [partition.predict(noisy(z, Rng(seed).torch())) for seed in range(10)]
        return float(torch.stack([nn.functional.cross_entropy(d, y) for d in draws]).mean())

    clean = float(nn.functional.cross_entropy(partition.predict(z), y))
    assert loss(shaped) - clean < 0.8 * (loss(even) - clean)


def test_a_curvature_is_that_of_the_cross_entropy() -> None:
    tail = _linear(4, 5, "tail")
    z = _linear(7, 5, "z")
    found = answer_curvature(lambda s: s @ tail.T, z, Rng(0).torch(), probes=4)

    def loss(s: Tensor, row: int) -> Tensor:
        logits = s @ tail.T
        # the label drops out of the second derivative of a linear tail
        return logits.logsumexp(0) - logits[row % 4]

    hessians = [
        torch.autograd.functional.hessian(lambda s, r=row: loss(s, r), z[row]).diagonal()
        for row in range(7)
    ]
    torch.testing.assert_close(found.float(), torch.stack(hessians).mean(0), rtol=1e-4, atol=1e-6)


# --- all ---------------------------------------------------------------------


def test_they_carry_an_entropy_price_and_exclude_other_noise() -> None:
    for text in ("fisher(100)", "fsinfo(0.3)", "utility-noise(0.5)"):
        assert run(f"{text}+cem(weight=0.1)", 512, schedule=ONCE).partition is not None
    with pytest.raises(BadPlan, match="contradict each other: both set the noise"):
        run("calibrated(0.01)+noise(0.1)", 512)


def test_a_partition_as_it_stands_is_fitted_without_training() -> None:
    partition = run("onehot", 512, schedule=ONCE).partition
    assert partition is not None
    data = images(1024)
    calibration = Calibration.of(partition, data.validation, data.probe, Rng(1))
    for component in (Calibrated(0.01), Fisher(50.0), FisherShannon(0.3), UtilityNoise(0.5)):
        found = component.fit(calibration)
        assert len(found.statements) == 1
    unlabelled = LabelledImages(data.probe.x, None, data.probe.ids)
    with pytest.raises(BadPlan, match="give labels"):
        Calibration.of(partition, data.validation, unlabelled, Rng(1))


def test_privacy_over_sends_is_stated() -> None:
    (statement,) = run(
        "gaussian-dp(epsilon=300,sends=4)+quantise(8)", 512, schedule=ONCE
    ).statements
    assert statement.quantity.kind is Kind.THEOREM
    assert statement.quantity.direction is Direction.UPPER
    assert statement.quantity.value == 300
    assert "over 4 sends of one image, delta 1e-05" in str(statement)
    (statement,) = run("laplace-dp(epsilon=300)", 512, schedule=ONCE).statements
    assert "over one send of an image, any two" in str(statement)


@pytest.mark.parametrize(
    ("text", "count", "words"),
    [
        ("calibrated(0)", 512, "error must be positive"),
        ("calibrated(0.01,label=secret)", 512, "did you mean|unknown value"),
        ("calibrated(0.01,level=1)", 512, r"level in \(0, 1\)"),
        ("calibrated(0.5)", 512, "with nothing sent at all: ask for less"),
        ("calibrated(0.01)", 128, "32 fresh images are too few to prove anything on"),
        ("fisher(0)", 512, "dfil must be positive"),
        ("fisher(1,probes=0)", 512, "probes at least 1"),
        ("fsinfo(0)", 512, "nats a pixel value must be positive"),
        ("fsinfo(0.1,probes=1)", 32, "16 rows of slopes are too few for 36 pixel values"),
        ("utility-noise(-1)", 512, "sigma must be positive"),
    ],
)
def test_bad_input_before_training(text: str, count: int, words: str) -> None:
    with pytest.raises(AuditError, match=words):
        run(text, count)


@pytest.mark.parametrize("text", ["calibrated(0.01)", "fisher(1)", "fsinfo(1)", "utility-noise(1)"])
def test_they_need_a_cut(text: str) -> None:
    with pytest.raises(BadPlan, match="acts on what crosses a cut"):
        run(text, 512, cut=None)


def test_what_does_not_move_is_refused() -> None:
    still = affine(_linear(8, 4, "head"), torch.zeros(3, 8))
    with pytest.raises(BadData, match="do not depend on what is sent"):
        UtilityNoise(0.5).fit(still)
    constant = Calibration(**(vars(still) | {"z": torch.ones(400, 8)}))
    for component in (Calibrated(0.01), Fisher(1.0), FisherShannon(1.0), UtilityNoise(0.5)):
        with pytest.raises(BadData, match="do not vary"):
            component.fit(constant)
    rounded = Calibration(
        **(vars(still) | {"head": lambda x: (x.flatten(1) @ torch.eye(4)).round()})
    )
    for slopes in (Fisher(1.0), FisherShannon(1.0)):
        with pytest.raises(BadData, match="do not move with the image"):
            slopes.fit(Calibration(**(vars(rounded) | {"z": still.z[:, :4]})))
