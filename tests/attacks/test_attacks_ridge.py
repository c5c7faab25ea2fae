from dataclasses import replace

import numpy as np
import pytest
import torch
from attack_problems import Builder, Problem
from torch import Tensor
from torch.nn.functional import one_hot

from splitveil.attacks import Ridge, ridge
from splitveil.attacks.base import Attack
from splitveil.attacks.classes import Classes
from splitveil.attacks.evidence import Evidence
from splitveil.attacks.ridge import Linear, solve
from splitveil.attacks.spectrum import Spectrum
from splitveil.partition.layout import Layout, Part
from splitveil.rng import Rng
from splitveil.testing.oracles import LinearGaussian
from splitveil.threat import Auxiliary, BlackBox, Observation, Oracle


def fitted_on(z: Tensor, x: Tensor, y: Tensor) -> Linear:
    classes = Classes.of(y)
    rows = classes.rows(y, len(y))
    layout = Layout((Part("z", tuple(z.shape[1:])),))
    return solve(Evidence(x, rows, classes, tuple(x.shape[1:]), z, layout))[0]


def _error(problem: Problem, attack: Attack) -> float:
    fitted = attack.fit(problem.knowledge(), Rng(3))
    layout = problem.partition.cut.layout
    guess = fitted(Observation(problem.z_test, layout, problem.y_test), Rng(0))
    return float((guess - problem.x_test).double().square().mean())


@pytest.mark.parametrize("sigma", [0.05, 0.5, 2.0])
@pytest.mark.parametrize(("d", "f"), [(6, 3), (6, 12)])
def test_within_two_percent_of_the_exact_minimum(
    linear_problem: Builder, d: int, f: int, sigma: float
) -> None:
    problem, exact = linear_problem(8000, d, f, sigma)
    error = _error(problem, Ridge())
    assert error == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_within_two_percent_of_the_public_oracle(sigma: float) -> None:
    """Here targets are not identically distributed along their axes, and the mean is not zero."""
    problem = LinearGaussian.random(5, 7, Rng(1), sigma=sigma)
    fitted = Ridge().fit(problem.knowledge(8000, Rng(2)), Rng(3))
    observation, x = problem.observe(20_000, Rng(4))
    error = float((fitted(observation, Rng(5)) - x).double().square().mean())
    assert error == pytest.approx(problem.mmse, rel=0.02)


def test_excess_error_falls_like_one_over_n(linear_problem: Builder) -> None:
    sizes = [50, 100, 200, 400]
    excess = []
    for n in sizes:
        trials = [linear_problem(n, 8, 8, 0.3, seed) for seed in range(12)]
        excess.append(np.mean([_error(problem, Ridge()) / exact - 1 for problem, exact in trials]))
    slope = np.polyfit(np.log(sizes), np.log(excess), 1)[0]
    assert slope == pytest.approx(-1, abs=0.3)


@pytest.mark.parametrize("n", [30, 200])
def test_primal_and_dual_equal_an_unpenalised_indicator_a_class(n: int) -> None:
    """The normal equations of [Z, one-hot] with penalty on Z only, solved as they stand."""
    g = torch.Generator().manual_seed(n)
    z, y = torch.randn(n, 50, generator=g), torch.randint(0, 3, (n,), generator=g)
    x = torch.randn(n, 4, generator=g) + y[:, None]
    fitted = fitted_on(z, x, y)
    design = torch.cat([z, one_hot(y, 3)], 1).double()
    penalty = fitted.penalty * torch.tensor([1.0] * 50 + [0.0] * 3, dtype=torch.float64)
    weight = torch.linalg.solve(design.T @ design + penalty.diag(), design.T @ x.double())
    new, labels = torch.randn(7, 50, generator=g), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    guess = fitted(Observation(new[:, None], fitted.layout, labels), Rng(0))
    expected = torch.cat([new, one_hot(labels, 3)], 1).double() @ weight
    torch.testing.assert_close(guess.double(), expected, atol=1e-5, rtol=1e-4)


def test_generalised_cross_validation_equals_its_definition() -> None:
    g = torch.Generator().manual_seed(0)
    z = torch.randn(20, 5, generator=g, dtype=torch.float64)
    x = torch.randn(20, 3, generator=g, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(z @ z.T)
    energy = (vectors.T @ x).square().sum(1)
    spectrum = Spectrum(values.clamp(min=0), energy, float(x.square().sum()), 20.0)
    penalties = torch.tensor([0.01, 1.0, 30.0], dtype=torch.float64)
    for penalty, score in zip(
        penalties, spectrum.generalised_cross_validation(penalties), strict=True
    ):
        hat = z @ torch.linalg.solve(z.T @ z + penalty * torch.eye(5, dtype=torch.float64), z.T)
        residual = (x - hat @ x).square().sum()
        assert float(score) == pytest.approx(float(20 * residual / (20 - hat.trace()) ** 2))


def test_labels_help_when_classes_differ(image_problem: Problem) -> None:
    knowing = _error(image_problem, Ridge())
    blind = Ridge().fit(image_problem.knowledge(knows_label=False), Rng(0))
    layout = image_problem.partition.cut.layout
    guess = blind(Observation(image_problem.z_test, layout), Rng(0))
    assert guess.shape == image_problem.x_test.shape
    assert knowing < float((guess - image_problem.x_test).square().mean()) * 1.05


def test_repeated_sends_are_averaged(linear_problem: Builder) -> None:
    problem, _ = linear_problem(4000, 5, 8, 1.0)
    fitted = Ridge().fit(problem.knowledge(), Rng(0))
    layout = problem.partition.cut.layout
    z = torch.stack([problem.partition.transmit(problem.x_test, Rng(i)) for i in range(8)], 1)
    errors = [
        float(
            (fitted(Observation(view, layout, problem.y_test), Rng(0)) - problem.x_test)
            .square()
            .mean()
        )
        for view in (z[:, :1], z)
    ]
    assert errors[1] < errors[0]


def test_without_structure_it_falls_back_to_the_class_mean() -> None:
    """Constant features carry nothing: the answer is the class mean, not NaN."""
    z, y = torch.ones(10, 4), torch.tensor([0, 1] * 5)
    x = torch.arange(20.0).reshape(10, 2)
    fitted = fitted_on(z, x, y)
    guess = fitted(Observation(torch.ones(2, 1, 4), fitted.layout, torch.tensor([0, 1])), Rng(0))
    torch.testing.assert_close(guess, torch.stack([x[y == 0].mean(0), x[y == 1].mean(0)]))


def test_samples_caps_the_dual_form(image_problem: Problem) -> None:
    capped = replace(Ridge(), samples=50)
    whole = image_problem.knowledge()
    limited = replace(whole, auxiliary=Auxiliary(whole.auxiliary.x, whole.auxiliary.y))
    fitted = capped.fit(limited, Rng(0))
    assert fitted(
        Observation(image_problem.z_test[:0], whole.layout, image_problem.y_test[:0]), Rng(0)
    ).shape == (0, 2, 8, 8)


@pytest.mark.parametrize("features", [6, 40])
def test_leverage_gives_the_answer_with_one_left_out(features: int) -> None:
    """Exactly so without labels, where leaving one out moves the shared mean as well."""
    g = torch.Generator().manual_seed(features)
    z, x = torch.randn(25, features, generator=g), torch.randn(25, 3, generator=g)
    nobody = Classes.of(None)
    layout = Layout((Part("z", (features,)),))
    fitted, leverage = solve(Evidence(x, nobody.rows(None, 25), nobody, (3,), z, layout))
    inside = fitted(Observation(z[:, None], layout), Rng(0))
    quick = x - (x - inside) / (1 - leverage[:, None])
    a, b = z[1:].double(), x[1:].double()
    centred = a - a.mean(0)
    loaded = centred.T @ centred + fitted.penalty * torch.eye(features, dtype=torch.float64)
    weight = torch.linalg.solve(loaded, centred.T @ (b - b.mean(0)))
    slow = b.mean(0) + (z[0].double() - a.mean(0)) @ weight
    torch.testing.assert_close(quick[0].double(), slow, atol=1e-5, rtol=1e-5)


def test_streamed_sums_give_the_same_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch by batch about a shift, against everything centred at once."""
    problem = LinearGaussian.random(5, 4, Rng(1), sigma=0.0)
    far = replace(problem, mean=problem.mean + 100)
    knowledge = far.knowledge(3000, Rng(2))
    y = torch.arange(3000) % 3
    labelled = replace(knowledge, auxiliary=Auxiliary(knowledge.auxiliary.x, y), knows_label=True)
    whole = Ridge().fit(labelled, Rng(3))
    monkeypatch.setattr(ridge, "_KEPT", 100)
    streamed = Ridge().fit(labelled, Rng(3))
    assert isinstance(whole, Linear)
    assert isinstance(streamed, Linear)
    assert streamed.penalty == pytest.approx(whole.penalty, rel=1e-3)
    torch.testing.assert_close(streamed.factors[0], whole.factors[0], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(streamed.x_mean, whole.x_mean, atol=1e-4, rtol=1e-6)
    torch.testing.assert_close(streamed.z_mean, whole.z_mean, atol=1e-3, rtol=1e-5)


def test_streaming_keeps_to_the_query_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "_KEPT", 100)
    problem = LinearGaussian.random(5, 7, Rng(1), sigma=0.1)
    whole = problem.knowledge(3000, Rng(2))
    oracle = Oracle(problem.partition(torch.float32), 1500)
    black = BlackBox(whole.auxiliary, whole.tail, whole.layout, False, True, oracle)
    fitted = Ridge().fit(black, Rng(3))
    assert oracle.used == 1500
    observation, x = problem.observe(5000, Rng(4))
    error = float((fitted(observation, Rng(5)) - x).double().square().mean())
    assert error == pytest.approx(problem.mmse, rel=0.05)
