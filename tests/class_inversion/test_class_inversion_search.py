"""Searches, starts and selections against steps taken by hand and problems with known answers."""

from collections.abc import Callable

import pytest
import torch
from inverting import LATENT, SHAPE, door, linear, prior
from torch import Tensor, nn

from splitveil.class_inversion import (
    Access,
    Adam,
    Box,
    CrossEntropy,
    Draws,
    Gaussian,
    L1Ball,
    LabelSearch,
    Logit,
    MostConfident,
    Nesterov,
    Objective,
    Origin,
    Prior,
    RealClass,
    Realness,
    Sphere,
    TopScore,
    Views,
)
from splitveil.class_inversion.objective import Problem, check
from splitveil.class_inversion.searches import Memory, Search
from splitveil.errors import BadPlan, KnowledgeMissing
from splitveil.rng import Rng

CLASSES = torch.tensor([0, 1, 2])
RNG = Rng(3)


def silent(step: int, images: Tensor, labels: Tensor) -> None:
    return None


def problem(objective: Objective | None = None, **given: object) -> Problem:
    plan = objective or Objective(identity=CrossEntropy(), weight=10.0)
    return Problem(target=door(classes=3), prior=prior(), objective=plan, **given)  # type: ignore[arg-type]


def start(rows: int = 3) -> Tensor:
    return torch.randn(rows, LATENT, generator=RNG.torch())


def run(
    search: Search,
    given: Problem,
    z: Tensor,
    labels: Tensor = CLASSES,
    on_step: Callable[[int, Tensor, Tensor], None] = silent,
) -> Tensor:
    begun = torch.ones_like(labels, dtype=torch.bool)
    return search.run(given, z, labels, begun, RNG, on_step, Memory()).z


def loss_at(given: Problem, z: Tensor, labels: Tensor = CLASSES) -> Tensor:
    return given.losses(z, labels, RNG.torch())[0].detach()


def slope_at(given: Problem, z: Tensor) -> Tensor:
    point = z.clone().requires_grad_()
    given.losses(point, CLASSES, RNG.torch())[0].sum().backward()
    assert point.grad is not None
    return point.grad


def test_two_nesterov_steps_by_hand() -> None:
    given, z0 = problem(), 0.1 * start()
    m, rate = 0.9, 0.05
    v1 = -rate * slope_at(given, z0)
    z1 = z0 + (1 + m) * v1
    v2 = m * v1 - rate * slope_at(given, z1)
    z2 = z1 - m * v1 + (1 + m) * v2
    found = run(Nesterov(steps=2, rate=rate, constraint=Box(-9.0, 9.0)), given, z0)
    assert torch.allclose(found[:, 0], z2, atol=1e-6)


def test_adam_s_first_step_is_the_rate_against_the_gradient_s_sign() -> None:
    given, z0 = problem(), start()
    found = run(Adam(steps=1, rate=0.1), given, z0)[:, 0]
    assert torch.allclose(found, z0 - 0.1 * slope_at(given, z0).sign(), atol=1e-4)


@pytest.mark.parametrize(
    "search", [Nesterov(steps=40, rate=0.05), Adam(steps=40), Gaussian(steps=40)]
)
def test_a_search_lowers_every_row_s_loss(search: Search) -> None:
    given = problem()
    z0 = torch.zeros(3, LATENT)
    found = run(search, given, z0)
    after = torch.stack([loss_at(given, z) for z in found.unbind(1)]).mean(0)
    assert (after < loss_at(given, z0)).all()


@pytest.mark.parametrize("search", [Nesterov(steps=5, rate=0.05), Adam(steps=5)])
def test_rows_of_a_batch_do_not_touch(search: Search) -> None:
    given, z = problem(), start()
    whole = run(search, given, z)
    alone = [run(search, given, z[i : i + 1], CLASSES[i : i + 1]) for i in range(3)]
    assert torch.allclose(whole, torch.cat(alone), atol=1e-6)


@pytest.mark.parametrize("constraint", [Box(-0.5, 0.5), L1Ball(0.7)])
def test_constraints_hold_about_the_start_at_the_end(constraint: Box | L1Ball) -> None:
    z0 = 0.3 * start().clamp(-1, 1)
    found = run(Adam(steps=30, constraint=constraint), problem(), z0)[:, 0]
    assert torch.allclose(constraint.project(found, z0), found, atol=1e-6)
    assert not torch.equal(found, z0)


def test_the_gaussian_learns_a_spread_and_draws_from_it() -> None:
    search = Gaussian(steps=30, draws=64, rate=0.1, constraint=Box(-5.0, 5.0))
    found = run(search, problem(), torch.zeros(3, LATENT))
    assert found.shape == (3, 64, LATENT)
    assert float(found.std(1).mean()) > 0.1
    assert len(found.flatten(0, 1).unique(dim=0)) == 192


def test_every_step_is_told_with_its_images() -> None:
    told: list[int] = []

    def on_step(step: int, images: Tensor, labels: Tensor) -> None:
        told.append(step)
        assert images.shape == (3, *SHAPE)
        assert not images.requires_grad
        assert torch.equal(labels, CLASSES)

    for search in (Nesterov(steps=4), Adam(steps=4), Gaussian(steps=4)):
        run(search, problem(), start(), on_step=on_step)
    assert told == [0, 1, 2, 3, 4] * 3


def test_a_search_that_diverges_says_so() -> None:
    with pytest.raises(BadPlan, match="diverged"):
        run(
            Nesterov(steps=60, rate=1e30, constraint=Box(-1e38, 1e38)),
            problem(Objective(identity=Logit(regulariser=0.0), weight=1e30)),
            start(),
        )


def test_the_objective_is_the_weighted_mean_over_models_and_views_plus_the_prior() -> None:
    critic = nn.Sequential(nn.Flatten(), nn.Linear(16, 1), nn.Flatten(0))
    plan = Objective(
        identity=CrossEntropy(),
        weight=100.0,
        prior=Realness(),
        prior_weight=2.0,
        views=Views(draws=3),
    )
    other = Access(linear(), "white")
    target = door(classes=3)
    given = Problem(target=target, prior=prior(critic), objective=plan, others=(other,))
    z = start()
    losses, images = given.losses(z, CLASSES, RNG.torch())
    draws, views = RNG.torch(), plan.views
    assert views is not None
    shown = torch.cat([views(images, draws) for _ in range(3)])
    each = [
        nn.functional.cross_entropy(door_.logits(shown), CLASSES.repeat(3), reduction="none")
        for door_ in (target, other)
    ]
    expected = 100 * torch.stack(each).view(2, 3, 3).mean((0, 1)) - 2 * critic(images)
    assert torch.allclose(losses, expected, atol=1e-3)
    assert target.used == 18  # nine views, asked twice here


def test_the_regulariser_is_of_the_model_under_attack_alone() -> None:
    target = door(classes=3)
    centre = torch.zeros(12)
    plain = Objective(identity=Logit(regulariser=0.0), weight=1.0)
    held = Objective(identity=Logit(regulariser=0.5), weight=1.0)
    other = Access(linear(), "white")
    z = start()
    base = loss_at(Problem(target=target, prior=prior(), objective=plain, others=(other,)), z)
    full = loss_at(
        Problem(target=target, prior=prior(), objective=held, others=(other,), centre=centre), z
    )
    _, features = target.logits_and_features(prior()(z, CLASSES))
    # averaged over two models, of which one has features
    assert torch.allclose(full - base, 0.5 * features.square().sum(1) / 2, atol=1e-5)


def test_a_prior_loss_without_its_critic_is_refused() -> None:
    plan = Objective(identity=CrossEntropy(), prior=Realness())
    with pytest.raises(BadPlan, match="has none"):
        check(plan, prior(), "white")
    classes = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(BadPlan, match="reads a critic with one output"):
        check(plan, prior(classes), "white")
    check(Objective(identity=CrossEntropy(), prior=RealClass()), prior(classes), "white")


# starts


def test_no_two_classes_or_restarts_begin_alike() -> None:
    begun = Draws(restarts=4).draw(problem(), CLASSES, RNG)
    assert begun.z.shape == (3, 4, LATENT)
    assert len(begun.z.flatten(0, 1).unique(dim=0)) == 12
    assert torch.equal(Origin().draw(problem(), CLASSES, RNG).z, torch.zeros(3, 1, LATENT))


@pytest.mark.parametrize("conditional", [False, True])
def test_each_class_begins_with_its_own_best_candidates(conditional: bool) -> None:
    drawn = prior()
    if conditional:
        drawn = Prior(name="c", generator=_Shifted(), latent=LATENT, shape=SHAPE, classes=3)
    given = Problem(target=door("score", classes=3), prior=drawn)
    begun = TopScore(restarts=2, candidates=50).draw(given, CLASSES, RNG)
    pool = drawn.draw(150 if conditional else 50, RNG.torch())
    for row, label in enumerate(CLASSES):
        z = pool[50 * row : 50 * row + 50] if conditional else pool
        images = drawn(z, label.expand(50))
        model = door("score", classes=3)
        scores = model.scores(images)[:, label] + model.scores(images.flip(3))[:, label]
        assert torch.equal(begun.z[row], z[scores.topk(2).indices])
    assert given.target.used == (300 if conditional else 100)


class _Shifted(nn.Module):
    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return (z + labels[:, None]).sigmoid().view(-1, *SHAPE)


def test_scores_are_needed_to_begin_with_the_best() -> None:
    given = Problem(target=door("label", classes=3), prior=prior())
    with pytest.raises(KnowledgeMissing, match="score access"):
        TopScore().draw(given, CLASSES, RNG)


def test_a_label_search_begins_inside_every_class_that_there_is() -> None:
    model = linear(4)
    with torch.no_grad():
        model[1].bias[3] = -100.0  # type: ignore[index]
    given = Problem(target=Access(model, "label"), prior=prior())
    begun = LabelSearch(restarts=3, batch=16, most=320).draw(given, torch.arange(4), RNG)
    assert begun.found.tolist() == [True, True, True, False]
    assert float(begun.z.abs().max()) <= 1.5
    named = given.named(begun.z[:3].flatten(0, 1), torch.arange(3).repeat_interleave(3))
    assert named.all()
    assert given.target.used == 320 + 9


# the sphere


class _Plane(nn.Module):
    """Grey plus a twentieth of the latent: a linear model's classes are half-spaces of latents."""

    def forward(self, z: Tensor) -> Tensor:
        return (0.5 + z / 20).clamp(0, 1).view(-1, *SHAPE)


def half_spaces(offset: float = 0.0) -> tuple[Problem, Tensor]:
    """A problem whose class 1 is where <normal, z> > offset, and the normal, of length 1."""
    normal = nn.functional.normalize(torch.randn(LATENT, generator=Rng(9).torch()), dim=0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.stack([-normal, normal]) * 20)  # type: ignore[operator]
        model[1].bias.copy_(torch.tensor([1.0, -1.0]) * (10 * normal.sum() + offset))  # type: ignore[operator]
    drawn = Prior(name="plane", generator=_Plane(), latent=LATENT, shape=SHAPE)
    return Problem(target=Access(model, "label"), prior=drawn), normal


def test_the_sphere_moves_along_the_boundary_s_normal() -> None:
    given, normal = half_spaces()
    z0 = 0.05 * normal.expand(20, -1)
    one = torch.ones(20, dtype=torch.int64)
    found = run(
        Sphere(patience=40, points=64, largest=3.0, constraint=Box(-9.0, 9.0)), given, z0, one
    )
    moved = found[:, 0] - z0
    cosine = nn.functional.cosine_similarity(moved, normal.expand(20, -1))
    assert float(cosine.mean()) > 0.8
    assert (moved @ normal > 0).all()


def test_the_current_point_is_always_of_the_class_and_inside_the_box() -> None:
    given, normal = half_spaces()
    z0 = (0.1 * normal + 0.3 * start(6)).clamp(-1.5, 1.5)
    labels = torch.where(z0 @ normal > 0, 1, 0)
    seen: list[int] = []

    def on_step(step: int, images: Tensor, wanted: Tensor) -> None:
        seen.append(step)
        assert torch.equal(half_spaces()[0].target.labels(images), wanted)
        assert float((images - 0.5).abs().max()) <= 1.5 / 20 + 1e-6

    run(Sphere(patience=15, largest=30.0), given, z0, labels, on_step)
    assert len(seen) > 10


def test_queries_of_the_sphere_are_points_a_step_and_one_a_move() -> None:
    given, _ = half_spaces(offset=1e3)  # nothing is of class 1: every vote fails
    one = torch.ones(4, dtype=torch.int64)
    found = run(Sphere(patience=7), given, start(4), one)
    assert given.target.used == 4 * 7 * (32 + 1)
    assert torch.equal(found[:, 0], start(4))  # no radius was passed: the start is the answer
    given, _ = half_spaces(offset=-1e3)  # everything is: the radius grows without a move
    run(Sphere(radius=2.0, expand=2.0, largest=16.0), given, start(4), one)
    assert given.target.used == 4 * 4 * 32


def test_rows_without_a_start_are_left_alone() -> None:
    given, _ = half_spaces()
    begun = torch.tensor([True, False])
    labels = torch.tensor([1, 1])
    z0 = start(2)
    found = Sphere(patience=3, largest=9.0).run(given, z0, labels, begun, RNG, silent, Memory())
    assert torch.equal(found.z[1, 0], z0[1])
    assert found.steps[1] == 0


def test_a_search_by_labels_needs_no_gradient_and_others_do() -> None:
    given = Problem(
        target=door("score", classes=3), prior=prior(), objective=Objective(identity=CrossEntropy())
    )
    with pytest.raises(KnowledgeMissing, match="white"):
        run(Adam(steps=1), given, start())


# selections


def test_the_most_confident_candidates_are_kept_best_first() -> None:
    target = door("score", classes=3)
    given = Problem(target=target, prior=prior())
    images = torch.rand(3, 10, *SHAPE, generator=RNG.torch())
    still = Views(draws=1, crop=(1.0, 1.0), rotate=0.0, flip=0.0, jitter=0.0)
    picked = MostConfident(kept=4, views=still, batch=7).pick(images, given, CLASSES, RNG)
    for row, label in enumerate(CLASSES):
        scores = door("score", classes=3).scores(images[row])[:, label]
        assert torch.equal(picked[row], scores.topk(4).indices)
    assert target.used == 30
    with pytest.raises(BadPlan, match="only 10 were found"):
        MostConfident(kept=11).pick(images, given, CLASSES, RNG)


# views


def test_a_view_that_changes_nothing_is_the_image() -> None:
    x = torch.rand(4, 3, 6, 8, generator=RNG.torch())
    still = Views(draws=1, crop=(1.0, 1.0), rotate=0.0, flip=0.0, jitter=0.0)
    assert torch.allclose(still(x, RNG.torch()), x, atol=1e-5)
    mirrored = Views(draws=1, crop=(1.0, 1.0), rotate=0.0, flip=1.0, jitter=0.0)
    assert torch.allclose(mirrored(x, RNG.torch()), x.flip(3), atol=1e-5)


def test_turns_are_torch_s_own_rotation() -> None:
    x = torch.rand(6, 1, 9, 9, generator=RNG.torch())
    turned = Views(draws=1, crop=(1.0, 1.0), rotate=180.0, flip=0.0, jitter=0.0)
    angle = (2 * torch.rand(7, 6, generator=RNG.torch())[1] - 1) * torch.pi
    zero = torch.zeros_like(angle)
    rows = [torch.stack([angle.cos(), -angle.sin(), zero], 1)]
    rows += [torch.stack([angle.sin(), angle.cos(), zero], 1)]
    grid = nn.functional.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    expected = nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    assert torch.allclose(turned(x, RNG.torch()), expected, atol=1e-5)


def test_views_pass_gradient_and_stay_in_range() -> None:
    x = torch.rand(5, 1, 8, 8, generator=RNG.torch()).requires_grad_()
    seen = Views()(x, RNG.torch())
    (slope,) = torch.autograd.grad(seen.sum(), x)
    assert seen.shape == x.shape
    assert ((seen >= 0) & (seen <= 1)).all()
    assert float(slope.abs().sum()) > 0
    with pytest.raises(BadPlan, match="crop within"):
        Views(crop=(0.9, 0.5))
