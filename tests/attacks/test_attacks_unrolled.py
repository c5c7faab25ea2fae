"""Attacks that follow the head's slope: the misfit, the learned solver, and refinement."""

from dataclasses import replace
from itertools import islice

import pytest
import torch
from attack_problems import Problem, blobs, partition_of
from torch import Tensor, nn

from splitveil.attacks import Decoder, Refined, SmallDecoder, Unrolled
from splitveil.attacks.base import Attack
from splitveil.attacks.groundwork import Groundwork
from splitveil.attacks.misfit import Misfit
from splitveil.attacks.refined import Refining, descend
from splitveil.errors import BadInput, BadPlan, KnowledgeMissing
from splitveil.rng import Rng
from splitveil.testing.oracles import LinearGaussian
from splitveil.threat import BlackBox, Observation

QUICK = SmallDecoder(epochs=2, width=8, batch=32)


def attacked(p: Problem, recipe: Attack) -> float:
    fitted = recipe.fit(p.knowledge(), Rng(0))
    guess = fitted(Observation(p.z_test, p.partition.cut.layout, p.y_test), Rng(0))
    return float((guess - p.x_test).square().mean())


@pytest.fixture(scope="module")
def folded() -> Problem:
    """Twice as many features as pixels, behind an absolute value: z fixes x, no line finds it."""
    with Rng(2).as_global():
        head = nn.Sequential(nn.Conv2d(2, 16, 3, 2, 1), _Absolute(), nn.Flatten())
    (x, y), (x_test, y_test) = blobs(120, 8, 1), blobs(60, 8, 2)
    return Problem(partition_of(head, (16, 4, 4)), x, y, x_test, y_test)


class _Absolute(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.abs()


def test_the_misfit_and_its_slope_in_closed_form() -> None:
    problem = LinearGaussian.random(4, 6, Rng(0), sigma=0.0)
    knowledge = problem.knowledge(50, Rng(1))
    laid = Groundwork.lay(Decoder(), knowledge, Decoder().ground, Rng(2))
    misfit = Misfit(knowledge.head, laid.standard)
    x, z = laid.found.x[:5] + 0.3, laid.found.z[:5]
    value, slope = misfit(x, laid.standard(z))
    weight = problem.matrix.float() / laid.standard.deviation.T
    apart = 0.3 * weight.sum(1).expand(5, -1)
    torch.testing.assert_close(value, 0.5 * apart.square().mean(1), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(slope, apart @ weight / 6, rtol=1e-4, atol=1e-5)
    assert all(parameter.grad is None for parameter in knowledge.head.parameters())


def test_descent_reaches_least_squares_image_by_image() -> None:
    """Without noise and pull the overdetermined linear problem has one answer: the target."""
    problem = LinearGaussian.random(4, 8, Rng(0), sigma=0.0)
    knowledge = problem.knowledge(60, Rng(1))
    laid = Groundwork.lay(QUICK, knowledge, replace(QUICK.ground, start="mean"), Rng(2))
    decoded = replace(QUICK, start="mean").learn(laid, knowledge, Rng(3))
    misfit = Misfit(knowledge.head, laid.standard)
    x, z = laid.found.x[:6], laid.found.z[:6]
    start = decoded.predict(z, laid.found.rows[:6])
    path = list(islice(descend(decoded, misfit, start, z, 0.0), 60))
    errors = torch.stack([(each - x).square().mean(1) for each in path])
    values = torch.stack([misfit(each, laid.standard(z))[0] for each in path])
    assert bool((values[1:] <= values[:-1]).all())
    assert float(errors[-1].max()) < 1e-3 * float((start - x).square().mean())
    alone = next(islice(descend(decoded, misfit, start[:1], z[:1], 0.0), 59, None))
    torch.testing.assert_close(alone, path[-1][:1], atol=1e-4, rtol=1e-4)


def test_refinement_gains_where_features_fix_the_image(folded: Problem) -> None:
    fitted = Refined(decoder=QUICK, steps=40).fit(folded.knowledge(), Rng(0))
    assert isinstance(fitted, Refining)
    assert fitted.steps > 0
    assert float(fitted.held_out.min()) < 0.8 * float(fitted.held_out[0, 0])
    refined, plain = attacked(folded, Refined(decoder=QUICK, steps=40)), attacked(folded, QUICK)
    assert refined < 0.8 * plain


def test_refinement_knows_when_to_stop() -> None:
    """Under heavy noise the best fit to z is far from x: no step, or none that hurts."""
    (x, y), (x_test, y_test) = blobs(200, 8, 1), blobs(100, 8, 2)
    p = Problem(partition_of(nn.Flatten(), (2, 8, 8), sigma=1.0), x, y, x_test, y_test)
    recipe = replace(QUICK, epochs=1)
    assert attacked(p, Refined(decoder=recipe, steps=8)) < 1.1 * attacked(p, recipe)


def test_the_learned_solver_beats_a_decoder_of_its_depth(folded: Problem) -> None:
    settings = {"epochs": 6, "width": 16, "batch": 16, "learning_rate": 4e-3, "start": "mean"}
    solver = Unrolled(steps=3, depth=1, **settings)  # type: ignore[arg-type]
    decoder = Decoder(depth=3, **settings)  # type: ignore[arg-type]
    assert attacked(folded, solver) < attacked(folded, decoder)


def test_the_learned_solver_is_within_two_percent_of_the_linear_gaussian_minimum() -> None:
    problem = LinearGaussian.random(5, 7, Rng(1), sigma=0.5)
    attack = Unrolled(epochs=2, width=16, batch=256, steps=2)
    fitted = attack.fit(problem.knowledge(4000, Rng(2)), Rng(3))
    observation, x = problem.observe(10_000, Rng(4))
    error = float((fitted(observation, Rng(5)) - x).double().square().mean())
    assert error == pytest.approx(problem.mmse, rel=0.02)


@pytest.mark.parametrize("attack", [Unrolled(epochs=1), Refined(decoder=QUICK)], ids=["u", "r"])
def test_bad_input(folded: Problem, attack: Attack) -> None:
    whole = folded.knowledge()
    black = BlackBox(whole.auxiliary, whole.tail, whole.layout, True, True, whole.oracle)
    with pytest.raises(KnowledgeMissing, match="WhiteBox"):
        attack.fit(black, Rng(0))
    few = replace(whole, auxiliary=replace(whole.auxiliary, x=whole.auxiliary.x[:5], y=None))
    with pytest.raises(BadInput, match="12 auxiliary"):
        attack.fit(few, Rng(0))
    with pytest.raises(BadPlan, match="steps"):
        replace(attack, steps=0)  # type: ignore[type-var]
