"""The papers' constants at 32 x 32: every preset runs, cut to a few steps of everything."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from splitveil.class_inversion import Access, Draws, LabelSearch, invert, teach, train_prior
from splitveil.class_inversion.presets import PRESETS
from splitveil.models.reference import vgg
from splitveil.rng import Rng
from splitveil.training import Schedule

RNG = Rng(11)
CLASSES = 6


def cut(recipe: Any) -> Any:
    """Two steps of the prior, one epoch of students, two steps or one ring of the search."""
    start, search = recipe.start, recipe.search
    if isinstance(start, LabelSearch):
        start, search = replace(start, most=256), replace(search, patience=1, largest=2.0)
    else:
        search = replace(search, steps=2)
    students = recipe.students
    if students is not None:
        students = replace(students, schedule=Schedule(epochs=1))
    prior = replace(recipe.prior, rules=replace(recipe.prior.rules, steps=2))
    return replace(recipe, prior=prior, start=start, search=search, students=students)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*PRESETS])
def test_every_preset_runs_at_the_paper_s_constants(name: str) -> None:
    whole = PRESETS[name]("paper")
    assert whole.prior.rules.critic_steps == 5
    if isinstance(whole.start, Draws):
        assert whole.start.restarts == 5
    recipe = cut(whole)
    with RNG.as_global():
        network = vgg(classes=CLASSES)
    public = torch.rand(64, 1, 32, 32, generator=RNG.torch())
    target = Access(network, "white")
    prior = train_prior(recipe.prior, public, target, rng=RNG)
    students: tuple[torch.nn.Module, ...] = ()
    if recipe.students is not None:
        students = teach(recipe.students, public, target, rng=RNG)
        assert len(students) == 3
    found = invert(recipe, target, prior, range(CLASSES), rng=RNG, public=public, students=students)
    images = found.images
    assert images.shape[0] == CLASSES
    assert images.shape[1] == {"brep-mi": 1}.get(name, 5)
    assert bool(((images >= 0) & (images <= 1)).all())
