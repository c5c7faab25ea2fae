import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from attack_problems import Problem, blobs, partition_of
from torch import Tensor, nn

from splitveil.attacks import DeepImagePrior
from splitveil.attacks.deep_image_prior import Drawing
from splitveil.attacks.optimise import Ending
from splitveil.errors import BadInput, BadPlan
from splitveil.release import ClippedGaussian
from splitveil.rng import Rng
from splitveil.testing.conformance.attacks import small_case
from splitveil.testing.oracles import LinearGaussian
from splitveil.threat import Observation

SMALL = DeepImagePrior(steps=120, width=8, depth=2)


def drawing(attack: DeepImagePrior, p: Problem) -> Drawing:
    fitted = attack.fit(p.knowledge(), Rng(0))
    assert isinstance(fitted, Drawing)
    return fitted


@pytest.fixture(scope="module")
def noisy() -> Problem:
    """Soft blobs sent as they are, in Gaussian noise as strong as they are."""
    (x, y), (x_test, y_test) = blobs(60, 16, 1), blobs(3, 16, 2)
    plain = partition_of(nn.Flatten(), (2, 16, 16))
    release = ClippedGaussian(torch.zeros(512), math.inf, 0.25)
    return Problem(replace(plain, release=release), x, y, x_test, y_test)


def test_it_draws_the_image_and_not_the_noise(noisy: Problem) -> None:
    """A fraction of the noise is left, and the search stops where the noise would be fitted."""
    fitted = drawing(SMALL, noisy)
    observation = Observation(noisy.z_test, noisy.partition.cut.layout, noisy.y_test)
    found = fitted.search(observation)
    truth = noisy.x_test.flatten(1)
    sent = (noisy.z_test[:, 0].clamp(0, 1) - truth).square().mean()
    assert (found.x - truth).square().mean() < 0.4 * sent
    stopped = found.ending == Ending.CONVERGED
    assert stopped.any()
    assert (found.steps[stopped] < SMALL.steps).all()


def test_of_several_restarts_the_one_that_explains_most_is_taken() -> None:
    case = small_case()
    attack = DeepImagePrior(steps=12, width=4, depth=2, restarts=3)
    fitted = attack.fit(case.knowledge(), Rng(0))
    assert isinstance(fitted, Drawing)
    several = fitted.search(case.observation())
    for start in range(3):
        own = {name: value[start : start + 1] for name, value in fitted.weights.items()}
        alone = replace(fitted, weights=own, attack=replace(attack, restarts=1))
        assert (several.value <= alone.search(case.observation()).value * 1.01).all()


def test_chunks_draw_alike() -> None:
    case = small_case()
    attack = DeepImagePrior(steps=8, width=4, depth=2)
    answers = [
        replace(attack, chunk=chunk).fit(case.knowledge(), Rng(0))(case.observation(), Rng(1))
        for chunk in (1, 4, 50)
    ]
    torch.testing.assert_close(answers[0], answers[1], atol=1e-3, rtol=0)
    torch.testing.assert_close(answers[0], answers[2], atol=1e-3, rtol=0)


class Broken(nn.Module):
    """Its features of dark images are not finite."""

    def forward(self, x: Tensor) -> Tensor:
        z = x.flatten(1)
        return torch.where(z.mean(1, keepdim=True) < 0.3, torch.nan, 1.0) * z


def test_divergence_leaves_a_finite_image() -> None:
    x = 0.5 + 0.5 * torch.rand(20, 1, 8, 8, generator=Rng(1).torch())
    nothing = torch.zeros(20, dtype=torch.int64)
    p = Problem(partition_of(Broken(), (1, 8, 8)), x, nothing, x[:2], nothing[:2])
    dark = Observation(0 * p.z_test, p.partition.cut.layout, nothing[:2])
    found = drawing(SMALL, p).search(dark)
    assert found.x.isfinite().all()
    assert (found.ending == Ending.DIVERGED).all()
    assert (found.steps < SMALL.steps).all()


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"width": 6}, {"rate": 0.0}, {"noise": -1.0}, {"chunk": 0}]
)
def test_refusals(wrong: Any) -> None:
    with pytest.raises(BadPlan):
        DeepImagePrior(**wrong)


def test_targets_that_are_no_images_are_refused() -> None:
    with pytest.raises(BadInput, match="images"):
        SMALL.fit(LinearGaussian.random(3, 4, Rng(0)).knowledge(50, Rng(1)), Rng(2))


class Detached(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach().flatten(1)


def test_a_head_without_a_gradient_is_refused() -> None:
    (x, y), (x_test, y_test) = blobs(20, 8, 1), blobs(2, 8, 2)
    p = Problem(partition_of(Detached(), (2, 8, 8)), x, y, x_test, y_test)
    with pytest.raises(BadInput, match="gradient"):
        drawing(SMALL, p).search(Observation(p.z_test, p.partition.cut.layout, p.y_test))
