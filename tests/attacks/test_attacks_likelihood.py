from dataclasses import replace
from typing import Any

import pytest
import torch
from attack_problems import Problem, blobs, partition_of
from torch import Tensor, nn

from splitveil.attacks import Likelihood, Ridge
from splitveil.attacks.base import Attack
from splitveil.attacks.likelihood import Searching
from splitveil.errors import BadInput, BadPlan
from splitveil.release import DitheredQuantiser, GaussianNoise, UniformQuantiser
from splitveil.rng import Rng
from splitveil.testing.conformance.attacks import small_case
from splitveil.testing.oracles import LinearGaussian
from splitveil.threat import Observation

BAYES = Likelihood(prior="gaussian", weight=1.0, restarts=1, samples=8000, optimiser="lbfgs")


def searching(attack: Likelihood, p: Problem) -> Searching:
    fitted = attack.fit(p.knowledge(), Rng(0))
    assert isinstance(fitted, Searching)
    return fitted


def error(p: Problem, attack: Attack) -> float:
    fitted = attack.fit(p.knowledge(), Rng(0))
    guess = fitted(Observation(p.z_test, p.partition.cut.layout, p.y_test), Rng(0))
    return float((guess - p.x_test).square().mean())


@pytest.mark.parametrize("sigma", [0.1, 1.0])
@pytest.mark.parametrize("attack", [BAYES, replace(BAYES, optimiser="adam"), Ridge()], ids=repr)
def test_within_two_percent_of_the_exact_minimum(attack: Attack, sigma: float) -> None:
    """Maximum a posteriori is the posterior mean here, and nothing can do better."""
    problem = LinearGaussian.random(5, 7, Rng(1), sigma=sigma)
    observation, x = problem.observe(2000, Rng(4))
    best = problem.posterior_mean(observation.z[:, 0].double())
    guess = attack.fit(problem.knowledge(8000, Rng(2)), Rng(3))(observation, Rng(5))
    found, least = (float((each - x).double().square().mean()) for each in (guess, best))
    assert found <= 1.02 * least
    assert float((guess - best).square().mean()) <= 0.02 * least


def test_several_sends_are_joint_evidence() -> None:
    """Four sends at noise s are one at s / 2."""
    problem = LinearGaussian.random(4, 5, Rng(1), sigma=1.0)
    observation, _ = problem.observe(300, Rng(4), sends=4)
    guess = BAYES.fit(problem.knowledge(8000, Rng(2)), Rng(3))(observation, Rng(5))
    half = replace(problem, sigma=0.5)
    best = half.posterior_mean(observation.z.mean(1).double())
    assert float((guess - best).square().mean()) <= 0.02 * half.mmse


def test_the_weight_bayes_asks_for_is_among_those_chosen_by_held_out_targets() -> None:
    problem = LinearGaussian.random(6, 8, Rng(1), sigma=0.7)
    attack = Likelihood(restarts=1, tuning=200, samples=3000, optimiser="lbfgs")
    fitted = attack.fit(problem.knowledge(3000, Rng(2)), Rng(3))
    assert isinstance(fitted, Searching)
    assert fitted.choice.gaussian == 1.0
    assert fitted.errors.shape == (4, 3)


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_a_head_that_loses_nothing_is_inverted(optimiser: Any) -> None:
    with Rng(3).as_global():
        head = nn.Sequential(nn.Conv2d(2, 12, 3, 1, 1), nn.LeakyReLU(0.3), nn.Flatten())
    (x, y), (x_test, y_test) = blobs(60, 6, 1), blobs(3, 6, 2)
    p = Problem(partition_of(head, (12, 6, 6)), x, y, x_test, y_test)
    attack = Likelihood(optimiser=optimiser, prior="none", restarts=2, steps=400)
    assert error(p, attack) < 1e-5


def test_it_beats_ridge_where_features_are_few_and_not_linear() -> None:
    with Rng(3).as_global():
        head = nn.Sequential(
            nn.Conv2d(2, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Flatten()
        )
    (x, y), (x_test, y_test) = blobs(300, 8, 1), blobs(24, 8, 2)
    p = Problem(partition_of(head, (8, 2, 2)), x, y, x_test, y_test)
    assert error(p, Likelihood(restarts=2, steps=400)) < 0.8 * error(p, Ridge())


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_companions_in_a_batch_do_not_change_an_answer(optimiser: Any) -> None:
    case = small_case()
    attack = Likelihood(optimiser=optimiser, restarts=3, steps=30)
    fitted = attack.fit(case.knowledge(), Rng(0))
    observation = case.observation()
    whole = fitted(observation, Rng(1))
    labels = observation.labels
    assert labels is not None
    for few in ([2], [5, 2, 1]):
        part = replace(observation, z=observation.z[few], labels=labels[few])
        torch.testing.assert_close(fitted(part, Rng(1)), whole[few], atol=1e-4, rtol=0)


def test_chunks_of_any_size_answer_alike() -> None:
    case = small_case()
    answers = [
        Likelihood(restarts=3, steps=30, chunk=chunk).fit(case.knowledge(), Rng(0))(
            case.observation(), Rng(1)
        )
        for chunk in (4, 1000)
    ]
    torch.testing.assert_close(*answers, atol=1e-4, rtol=0)


def test_the_start_of_least_objective_is_the_answer(image_problem: Problem) -> None:
    """Not that of least error, which an attacker does not know."""
    attack = Likelihood(restarts=4, steps=20, prior="variation", weight=1e-3)
    fitted = searching(attack, image_problem)
    part = Observation(
        image_problem.z_test[:5], image_problem.partition.cut.layout, image_problem.y_test[:5]
    )
    found = fitted.search(part)
    fewer = searching(replace(attack, restarts=1), image_problem).search(part)
    assert (found.objective <= fewer.objective + 1e-9).all()
    same = found.start == 0
    torch.testing.assert_close(found.x[same], fewer.x[same], atol=1e-4, rtol=0)
    assert found.steps.shape == (5, 4)
    assert (found.misfit <= found.objective).all()


@pytest.mark.parametrize(
    "recipe",
    [GaussianNoise(sigma=0.3), UniformQuantiser(bits=3), DitheredQuantiser(bits=3)],
    ids=str,
)
def test_what_the_release_says_of_its_noise_is_used(recipe: Any) -> None:
    """Against the same search that is not told of the release."""
    clean = small_case()
    z = clean.partition.features(clean.auxiliary.x).detach()
    case = small_case(recipe.fit(z))
    attack = Likelihood(restarts=1, steps=60, tuning=4)
    told = case.knowledge()
    errors = [
        float((attack.fit(k, Rng(0))(case.observation(), Rng(1)) - case.x).square().mean())
        for k in (told, replace(told, knows_defence=False))
    ]
    assert errors[0] < 1.1 * errors[1]
    assert errors[0] < 0.5 * float((case.x - case.auxiliary.x.mean(0)).square().mean())


class Severed(nn.Module):
    def __init__(self, how: str) -> None:
        nn.Module.__init__(self)
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        if self.how == "detached":
            return x.detach().sqrt()
        if self.how == "rounded":
            return (4 * x).round()
        return (x - x).sqrt() + x


@pytest.mark.parametrize(
    ("how", "text"), [("detached", "passes no"), ("rounded", "zero"), ("nan", "NaN")]
)
def test_a_head_without_a_gradient_is_refused(how: str, text: str) -> None:
    (x, y), (x_test, y_test) = blobs(40, 6, 1), blobs(2, 6, 2)
    p = Problem(partition_of(Severed(how), (2, 6, 6)), x, y, x_test, y_test)
    with pytest.raises(BadInput, match=text):
        error(p, Likelihood(restarts=1, steps=3))


class Cliff(nn.Module):
    """No longer finite where the first pixel is bright."""

    def forward(self, x: Tensor) -> Tensor:
        z = x.flatten(1)
        return torch.where(z[:, :1] > 0.9, torch.nan, 1.0) * z


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_divergence_leaves_a_finite_answer_and_a_note(optimiser: Any) -> None:
    x = torch.rand(60, 1, 4, 4, generator=Rng(1).torch()) * 0.8
    nothing = torch.zeros(60, dtype=torch.int64)
    p = Problem(partition_of(Cliff(), (1, 4, 4)), x, nothing, x[:3], nothing[:3])
    z = p.z_test.clone()
    z[:, :, 0] = 1.0  # only a pixel beyond the cliff explains it
    attack = Likelihood(prior="none", restarts=2, steps=30, optimiser=optimiser)
    found = searching(attack, p).search(Observation(z, p.partition.cut.layout, nothing[:3]))
    assert found.x.isfinite().all()
    assert (found.start == 1).all(), "the linear guess lies beyond the cliff"
    assert found.x[:, 0].max() <= 0.9
    if optimiser == "adam":
        assert any("diverged" in note for note in found.notes)


def test_refusals() -> None:
    for wrong in (
        {"weight": 1.0},
        {"weight": -1.0, "prior": "gaussian"},
        {"restarts": 0},
        {"steps": 0},
        {"chunk": 0},
        {"samples": 3},
    ):
        with pytest.raises(BadPlan):
            Likelihood(**wrong)
    with pytest.raises(BadInput, match="images"):
        Likelihood(prior="variation").fit(
            LinearGaussian.random(3, 4, Rng(0)).knowledge(50, Rng(1)), Rng(2)
        )
