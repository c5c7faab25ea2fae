"""Experiments on attack strength: what they measure, and what they say where runs are missing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from splitveil.audit.store import Store, open_run
from splitveil.errors import UnknownName
from splitveil.reproduce import load_paper
from splitveil.reproduce.attacks.auxiliary import Taught, foretold, through_another_camera
from splitveil.reproduce.attacks.claims import EVERY, SEARCH_EARLY, STEPS
from splitveil.reproduce.attacks.strength import EPOCHS, LENGTHS, RIDGE, ladders
from splitveil.reproduce.claims import Verdict
from splitveil.reproduce.experiment import Evidence, Measured, Scale
from splitveil.reproduce.run import scope
from splitveil.rng import Rng

ONE = Scale(seeds=1)


def evidence(folder: Path, found: dict[str, Measured]) -> Evidence:
    """A folder's evidence that holds these arms and no more."""

    class Kept(Evidence):
        def find(self, arm: object) -> Measured | None:
            return found.get(repr(arm))

    with Store(folder) as store:
        store.write_json("manifest.json", {})
    return Kept(open_run(folder), "attacks", {})


def rungs(errors: dict[str, float]) -> Measured:
    """Records of attacks with these mean errors, on 20 images."""
    spread = 1 + 0.01 * np.linspace(-1, 1, 20, dtype=np.float32)
    return Measured(
        arrays={name: value * spread for name, value in errors.items()},
        details={"seconds": {name: 1.0 + i for i, name in enumerate(errors)}},
    )


def planned(search: float) -> dict[str, Measured]:
    """Every ladder, with searches that end at `search` times the error of regression."""
    regression = {RIDGE: 0.03, **{f"{n} epochs": 0.03 - 0.001 * n for n in EPOCHS}}
    best = min(regression.values())
    searches = dict(zip((f"{n} steps" for n in LENGTHS), (0.05, 0.02, search * best), strict=True))
    return {
        repr(arm): rungs(regression if arm.family == "regression" else searches)
        for arm in ladders(ONE)
    }


def test_every_claim_is_answered_by_an_experiment_and_every_cut_by_an_arm() -> None:
    plan = load_paper("attacks").plan(ONE)
    answered = {claim.id for one in plan.experiments for claim in one.claims}
    assert answered == {claim.id for claim in plan.claims}
    assert {f"{arm.network} {arm.cut}" for arm in ladders(ONE)} == set(EVERY)
    assert len(scope(plan.paper)) > 0


@pytest.mark.parametrize(("search", "verdict"), [(0.4, Verdict.HOLDS), (0.7, Verdict.FAILS)])
def test_a_search_is_judged_against_the_better_regression(
    tmp_path: Path, search: float, verdict: Verdict
) -> None:
    plan = load_paper("attacks").plan(ONE, ["A1"])
    found = {one.claim.id: one for one in plan.findings(evidence(tmp_path, planned(search)))}
    assert found[SEARCH_EARLY.id].verdict is verdict
    reading = found[SEARCH_EARLY.id].quantities[0]
    assert reading.quantity.value == pytest.approx(search, rel=1e-5)


def test_cuts_that_did_not_run_leave_the_claim_undecided_with_the_others_read(
    tmp_path: Path,
) -> None:
    arms = planned(0.4)
    arms = {name: one for name, one in arms.items() if "vgg" in name}
    plan = load_paper("attacks").plan(ONE, ["A1", "A4"])
    found = {one.claim.id: one for one in plan.findings(evidence(tmp_path, arms))}
    assert found[STEPS.id].verdict is Verdict.UNDECIDED
    assert found[STEPS.id].quantities
    assert "missing" in found[STEPS.id].note


def test_an_exact_power_law_is_foretold_and_its_limit_found() -> None:
    sizes = (32, 64, 128, 512)
    law = 0.01 + 0.2 * np.array([*sizes, 2048.0]) ** -0.7
    errors = law[:, None, None] * (1 + 0.1 * np.linspace(-1, 1, 30))
    seen, limit = foretold(errors, sizes, 2048, Rng(0))
    assert seen.value == pytest.approx(1, abs=0.02)
    assert seen.high - seen.low < 1e-6, "all images follow one law"
    assert limit.value == pytest.approx(0.01 / law[-1], abs=0.05)


def test_another_camera_keeps_shape_and_range_and_moves_every_image() -> None:
    x = torch.rand(3, 1, 32, 32, generator=Rng(0).torch())
    other = through_another_camera(x)
    assert other.shape == x.shape
    assert 0 <= float(other.min()) <= float(other.max()) <= 0.8
    assert bool(((other - x).abs().amax((1, 2, 3)) > 0.1).all())


def test_unknown_kinds_of_images_are_refused() -> None:
    with pytest.raises(UnknownName, match="shifted"):
        Taught(network="vgg", cut="pool3", kind="shift", images=32)
