"""The frame: classes and restarts in one batch, chunks that survive a kill, budgets, bad input."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from inverting import LATENT, SHAPE, door, linear, prior
from torch import Tensor, nn

import splitveil.class_inversion as ci
from splitveil.class_inversion import (
    Access,
    Adam,
    Chunk,
    ClassInversion,
    CrossEntropy,
    Draws,
    Gaussian,
    Hooks,
    LabelSearch,
    Logit,
    MostConfident,
    Nesterov,
    Objective,
    Prior,
    Sphere,
    Students,
    Views,
    Wasserstein,
    invert,
    kept,
    teach,
)
from splitveil.class_inversion.invert import _centre
from splitveil.errors import BadData, BadModel, BadPlan, BudgetExceeded, KnowledgeMissing
from splitveil.rng import Rng
from splitveil.training import Schedule

RNG = Rng(5)
PUBLIC = torch.rand(40, *SHAPE, generator=RNG.torch())


def attack(**changes: Any) -> ClassInversion:
    plain = ClassInversion(
        name="plain",
        prior=Wasserstein(),
        start=Draws(restarts=2),
        search=Adam(steps=30),
        objective=Objective(identity=CrossEntropy(), weight=10.0),
    )
    return replace(plain, **changes)


def by_labels() -> ClassInversion:
    return attack(start=LabelSearch(batch=64, most=6400), search=Sphere(patience=3), objective=None)


def test_every_class_is_found_in_one_batch() -> None:
    target = door()
    found = invert(attack(), target, prior(), range(6), rng=RNG)
    assert found.images.shape == (6, 2, *SHAPE)
    assert found.latents.shape == (6, 2, LATENT)
    named = door().labels(found.images.flatten(0, 1)).view(6, 2)
    assert (named == found.classes[:, None]).all()
    assert found.queries == 30 * 12 == target.used
    assert found.seconds_per_class > 0


def test_the_same_stream_gives_the_same_bits_and_leaves_the_global_one_alone() -> None:
    state = torch.random.get_rng_state()
    plan = attack(objective=Objective(identity=CrossEntropy(), views=Views()))
    first = invert(plan, door(), prior(), [3, 1], rng=RNG)
    with torch.no_grad():  # whoever calls may have switched gradients off
        second = invert(plan, door(), prior(), [3, 1], rng=RNG)
    other = invert(plan, door(), prior(), [3, 1], rng=RNG.child("other"))
    assert torch.equal(first.images, second.images)
    assert not torch.equal(first.images, other.images)
    assert torch.equal(state, torch.random.get_rng_state())


def test_steps_are_told_with_images_and_classes() -> None:
    told: list[tuple[int, list[int]]] = []

    def on_step(step: int, images: Tensor, labels: Tensor) -> None:
        told.append((step, labels.tolist()))

    hooks = Hooks(on_step=on_step)
    invert(attack(search=Adam(steps=2)), door(), prior(), [4, 0, 2], rng=RNG, chunk=2, hooks=hooks)
    first, second = [4, 4, 0, 0], [2, 2]
    assert told == [(t, labels) for labels in (first, second) for t in (0, 1, 2)]


def test_the_time_of_hooks_is_not_the_search_s() -> None:
    def slow(step: int, images: Tensor, labels: Tensor) -> None:
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass

    plan = attack(search=Adam(steps=5))
    found = invert(plan, door(), prior(), [0], rng=RNG, hooks=Hooks(on_step=slow))
    assert 0 < found.processor_seconds < 1.0 < 6 * 0.2


def test_a_killed_run_loses_the_chunk_under_way_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "EVERY", math.inf)
    whole = invert(attack(), door(), prior(), range(5), rng=RNG, chunk=2)
    asked: list[int] = []

    def killed(step: int, images: Tensor, labels: Tensor) -> None:
        asked.append(step)
        if len(asked) == 40:  # in the second of three chunks
            raise KeyboardInterrupt

    target = door()
    with pytest.raises(KeyboardInterrupt):
        invert(
            attack(),
            target,
            prior(),
            range(5),
            rng=RNG,
            chunk=2,
            folder=tmp_path,
            hooks=Hooks(on_step=killed),
        )
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["classes-0000.safetensors"]
    told: list[Chunk] = []
    target = door()
    found = invert(
        attack(),
        target,
        prior(),
        range(5),
        rng=RNG,
        chunk=2,
        folder=tmp_path,
        hooks=Hooks(on_chunk=told.append),
    )
    assert torch.equal(found.images, whole.images)
    assert found.queries == whole.queries == target.used
    assert [(chunk.done, chunk.seconds > 0) for chunk in told] == [(2, False), (4, True), (5, True)]


SEARCHES = {
    "adam": lambda: attack(),
    "gaussian": lambda: attack(search=Gaussian(steps=30)),
    "nesterov": lambda: attack(search=Nesterov(steps=30)),
    "sphere": lambda: by_labels(),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_killed_search_goes_on_from_its_last_state_and_ends_in_the_same_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "EVERY", 0.0)
    plan = SEARCHES[name]()
    whole = invert(plan, door(), prior(), range(3), rng=RNG)
    last = 2

    def killed(step: int, images: Tensor, labels: Tensor) -> None:
        if step == last:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        invert(
            plan, door(), prior(), range(3), rng=RNG, folder=tmp_path, hooks=Hooks(on_step=killed)
        )
    assert [one.suffix for one in tmp_path.iterdir()] == [".under-way"]
    seen: list[int] = []
    target = door()
    found = invert(
        plan,
        target,
        prior(),
        range(3),
        rng=RNG,
        folder=tmp_path,
        hooks=Hooks(on_step=lambda step, images, labels: seen.append(step)),
    )
    assert seen[0] == last
    assert torch.equal(found.images, whole.images)
    assert torch.equal(found.steps, whole.steps)
    # a step that was begun before the kill is asked again
    again = found.queries - whole.queries
    assert 0 <= again <= 33 * 6
    assert found.queries == target.used
    assert [one.name for one in tmp_path.iterdir()] == ["classes-0000.safetensors"]


def test_a_search_under_way_of_another_attack_or_damaged_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "EVERY", 0.0)

    def killed(step: int, images: Tensor, labels: Tensor) -> None:
        if step == 3:
            raise KeyboardInterrupt

    hooks = Hooks(on_step=killed)
    with pytest.raises(KeyboardInterrupt):
        invert(attack(), door(), prior(), [0], rng=RNG, folder=tmp_path, hooks=hooks)
    with pytest.raises(BadPlan, match=r"under-way is of an attack with other settings.*another"):
        invert(attack(search=Adam(steps=31)), door(), prior(), [0], rng=RNG, folder=tmp_path)
    (tmp_path / "classes-0000.under-way").write_bytes(b"half")
    with pytest.raises(BadPlan, match="is damaged: remove it"):
        invert(attack(), door(), prior(), [0], rng=RNG, folder=tmp_path)


def test_time_of_a_killed_search_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "EVERY", 0.0)
    watch = kept.Stopwatch(lambda step, images, labels: time.sleep(0.2))
    watch.add(5.0, 4.0)
    watch(0, torch.zeros(1), torch.zeros(1))
    assert 5.0 <= watch.seconds < 5.15
    assert 4.0 <= watch.processor_seconds < 4.15


def test_a_folder_of_another_attack_is_refused(tmp_path: Path) -> None:
    invert(attack(), door(), prior(), [0], rng=RNG, folder=tmp_path)
    with pytest.raises(BadPlan, match="another folder"):
        invert(attack(search=Adam(steps=31)), door(), prior(), [0], rng=RNG, folder=tmp_path)
    (tmp_path / "classes-0000.safetensors").write_bytes(b"half")
    with pytest.raises(BadPlan, match="is damaged"):
        invert(attack(), door(), prior(), [0], rng=RNG, folder=tmp_path)


def test_an_exhausted_budget_keeps_what_is_done(tmp_path: Path) -> None:
    with pytest.raises(BudgetExceeded, match=r"of 150 left.*\(2 of 6 classes done\)"):
        invert(attack(), door(budget=150), prior(), range(6), rng=RNG, chunk=2, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("plan", "needed"), [(attack, "white"), (by_labels, "label")], ids=["white", "label"]
)
def test_an_attack_states_the_access_it_needs(
    plan: Callable[[], ClassInversion], needed: str
) -> None:
    assert plan().level == needed
    assert replace(plan(), selection=MostConfident()).level == max(needed, "score")
    if needed == "white":
        with pytest.raises(KnowledgeMissing, match="plain needs white access"):
            invert(plan(), door("score"), prior(), [0], rng=RNG)


def test_labels_alone_rebuild_classes_and_count_every_image() -> None:
    target = door("label", budget=100_000)
    found = invert(by_labels(), target, prior(), range(6), rng=RNG)
    named = door().labels(found.images[:, 0])
    assert (named == found.classes)[found.found].all()
    assert found.queries == target.used > 6 * 33


def test_a_class_without_a_start_is_said() -> None:
    model = linear(4)
    with torch.no_grad():
        model[1].bias[3] = -100.0  # type: ignore[index]
    plan = replace(by_labels(), start=LabelSearch(batch=64, most=640))
    found = invert(plan, Access(model, "label"), prior(), range(4), rng=RNG)
    assert found.found.tolist()[3] is False
    assert "1 of 4 classes had no start" in found.notes[-1]


def test_a_prior_of_another_size_or_of_other_classes_is_refused() -> None:
    with pytest.raises(BadModel, match=r"draws images of shape \(1, 4, 4\).*have \(1, 8, 8\)"):
        invert(attack(), door(), prior(), [0], rng=RNG, public=torch.rand(3, 1, 8, 8))
    wide = Prior(name="wide", generator=nn.Identity(), latent=2, shape=(3, 9, 9))
    with pytest.raises(BadModel, match="refuses an image of shape"):
        invert(attack(), door(), wide, [0], rng=RNG)
    other = Prior(name="c", generator=nn.Identity(), latent=16, shape=SHAPE, classes=9)
    with pytest.raises(BadModel, match="knows 9 classes, the model 6"):
        invert(attack(), door(), other, [0], rng=RNG)


@pytest.mark.parametrize("classes", [[], [0, 0], [6], [-1]])
def test_classes_that_make_no_sense_are_refused(classes: list[int]) -> None:
    with pytest.raises(BadPlan, match="class"):
        invert(attack(), door(), prior(), classes, rng=RNG)


def test_features_need_public_images_and_a_last_linear_layer() -> None:
    plan = attack(objective=Objective(identity=Logit(regulariser=0.1)))
    with pytest.raises(BadData, match="give public images"):
        invert(plan, door(), prior(), [0], rng=RNG)
    conv = Access(nn.Sequential(nn.Conv2d(1, 6, 4), nn.Flatten()), "white")
    with pytest.raises(BadModel, match="no penultimate features"):
        invert(plan, conv, prior(), [0], rng=RNG, public=PUBLIC)


def test_the_centre_is_the_mean_feature_of_public_images_not_a_draw() -> None:
    plan = attack(objective=Objective(identity=Logit(regulariser=0.1)))
    target = door()
    centre = _centre(plan, target, PUBLIC)
    assert centre is not None
    assert torch.allclose(centre, target.logits_and_features(PUBLIC)[1].mean(0), atol=1e-5)


def test_students_learn_the_model_s_answers_and_are_kept(tmp_path: Path) -> None:
    recipe = Students(
        families=(f"{__name__}:student",) * 2,
        schedule=Schedule(epochs=40, batch=20, learning_rate=0.1),
    )
    target = door("score")
    one, two = teach(recipe, PUBLIC, target, rng=RNG, folder=tmp_path)
    agree = (one(PUBLIC).argmax(1) == door().labels(PUBLIC)).float().mean()
    assert float(agree) > 0.7
    assert target.used == 40
    assert not torch.equal(one[1].weight, two[1].weight)  # type: ignore[index]
    again = teach(recipe, PUBLIC, door("score"), rng=RNG, folder=tmp_path)
    assert torch.equal(again[0](PUBLIC), one(PUBLIC))
    plan = attack(students=recipe)
    invert(plan, door(), prior(), [0], rng=RNG, students=(one, two))
    with pytest.raises(BadPlan, match="needs its students"):
        invert(plan, door(), prior(), [0], rng=RNG)


def student(channels: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16 * channels, classes))


@pytest.mark.parametrize("constants", ["paper", "cpu"])
@pytest.mark.parametrize("name", ["brep_mi", "gmi", "kedmi", "lomma", "plg_mi"])
def test_presets_are_recipes_that_their_repr_rebuilds(name: str, constants: str) -> None:
    found = getattr(ci, name)(constants)
    names = {k: getattr(ci, k) for k in ci.__all__} | {
        "Schedule": Schedule,
    }
    assert eval(repr(found), names) == found
    assert found.level == ("label" if name == "brep_mi" else "white")


def test_presets_have_the_papers_constants() -> None:
    from splitveil.class_inversion import Nesterov, brep_mi, gmi, kedmi, lomma, plg_mi

    paper = gmi("paper")
    assert isinstance(paper.search, Nesterov)
    assert (paper.search.steps, paper.search.rate * 60, paper.start.restarts) == (1500, 0.02, 5)
    assert paper.objective is not None
    assert paper.objective.weight == 100
    sphere = brep_mi("paper").search
    assert isinstance(sphere, Sphere)
    assert (sphere.radius, sphere.points, sphere.expand, sphere.patience) == (2, 32, 1.3, 1000)
    assert (sphere.constraint, sphere.share) == (ci.Box(-1.5, 1.5), 0.75)
    assert kedmi("paper").search == ci.Gaussian(steps=2400, rate=0.02, draws=5)
    assert plg_mi("paper").search == ci.Adam(steps=600, rate=0.1)
    held = lomma("paper").objective
    assert held is not None
    assert held.identity == Logit(regulariser=1.0)
    assert lomma("paper", of=gmi("paper")).search == paper.search
    assert plg_mi("paper").prior == ci.PseudoLabelled()
    with pytest.raises(BadPlan, match="has none"):
        lomma(of=brep_mi())


def test_a_search_and_its_objective_belong_together() -> None:
    with pytest.raises(BadPlan, match="needs an objective"):
        attack(objective=None)
    with pytest.raises(BadPlan, match="only that"):
        attack(search=Sphere())
