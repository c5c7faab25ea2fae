"""Experiments on malicious networks: what they train on, and what they read off records."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from splitveil.audit.store import Store, open_run
from splitveil.errors import BadData, UnknownName
from splitveil.reproduce import Bench, load_paper
from splitveil.reproduce.claims import Verdict
from splitveil.reproduce.experiment import Evidence, Measured, Scale
from splitveil.reproduce.vicious.arms import FREE, Paired, Yardsticks
from splitveil.reproduce.vicious.claims import (
    ATTRIBUTE_COUNTS,
    FAMILIES,
    KEPT,
    MORE,
    ORDER,
    RAW,
    SETS,
    SIMPLE,
    SWEPT,
    TRADED,
    WEIGHTS,
    WORSE,
)
from splitveil.reproduce.vicious.images import ATTRIBUTES, pictures_of, whitening_of
from splitveil.reproduce.vicious.pictures import SHOWN, gallery

ONE = Scale(seeds=1)


def evidence(folder: Path, found: Mapping[str, Measured]) -> Evidence:
    """A folder's evidence that holds these arms and no more."""

    class Kept(Evidence):
        def find(self, arm: object) -> Measured | None:
            return found.get(repr(arm))

    with Store(folder) as store:
        store.write_json("manifest.json", {})
    return Kept(open_run(folder), "vicious", {})


def measured(mse: float, risk: float, right: float) -> Measured:
    """Records with these means, on 40 images."""
    spread = 1 + 0.01 * np.linspace(-1, 1, 40)
    pictures = np.zeros((12, 1, 32, 32), dtype=np.uint8)
    return Measured(
        arrays={
            "mse": mse * spread,
            "mse mean": 0.06 * spread,
            "risk": risk * spread,
            "right": np.repeat([1.0, 0.0], [round(40 * right), 40 - round(40 * right)]),
            "pictures": pictures,
            "originals": pictures,
        }
    )


def foreseen() -> dict[str, Measured]:
    """Every arm with numbers as the claims have them."""
    arms: dict[str, Measured] = {}
    for name in SETS:
        simple = 0.2 if name in ("mnist", "digits", "faces") else 0.0
        for arm, mse, risk, right in (
            (Paired(images=name, weight=0), 0.04, 1.05, 0.95),
            (Paired(images=name), 0.02, 1.2 + simple, 0.95),
            (Paired(images=name, kind=FREE), 0.015, 1.3, 0.1),
            (Paired(images=name, release="softmax"), 0.03, 1.1, 0.95),
        ):
            arms[repr(arm)] = measured(mse, risk, right)
        arms[repr(Yardsticks(images=name))] = measured(0.05, 1.1, 0.0)
    for family, counts in FAMILIES.items():
        for place, count in enumerate(counts):
            arm = Paired(images=f"{family}-{count}")
            arms[repr(arm)] = measured(0.05 * 0.8**place, 1 + 0.1 * place, 0.9)
    for name in SWEPT:
        for place, weight in enumerate(WEIGHTS):
            arm = Paired(images=name, weight=weight)
            if weight not in (0, 3):
                arms[repr(arm)] = measured(0.03, 1.05 + 0.05 * place, 0.975 - 0.025 * place)
    return arms


def verdicts(folder: Path, found: Mapping[str, Measured]) -> dict[str, Verdict]:
    plan = load_paper("vicious").plan(ONE)
    return {one.claim.id: one.verdict for one in plan.findings(evidence(folder, found))}


def test_every_claim_is_answered_and_every_arm_is_declared() -> None:
    plan = load_paper("vicious").plan(Scale(seeds=3))
    assert {claim.id for one in plan.experiments for claim in one.claims} == {
        claim.id for claim in plan.claims
    }
    assert plan.minutes < 60
    assert len(plan.arms) == 3 * (4 * len(SETS) + 8 + 5 + 3 * len(SWEPT)) + len(SETS) + 9


def test_what_was_foreseen_holds_and_its_opposite_does_not(tmp_path: Path) -> None:
    arms = foreseen()
    found = verdicts(tmp_path / "a", arms)
    for claim in (KEPT, WORSE, ORDER, MORE, RAW, SIMPLE):
        assert found[claim.id] is Verdict.HOLDS, claim.id
    after, vicious = repr(Paired(images="emoji", weight=0)), repr(Paired(images="emoji"))
    turned = {**arms, after: arms[vicious], vicious: arms[after]}
    found = verdicts(tmp_path / "b", turned)
    for claim in (WORSE, ORDER):
        assert found[claim.id] is Verdict.FAILS, claim.id
    assert found[MORE.id] is Verdict.HOLDS


def test_a_sweep_that_turns_back_does_not_hold(tmp_path: Path) -> None:
    arms = foreseen()
    heavy = repr(Paired(images="faces", weight=10))
    arms[heavy] = measured(0.05, 0.9, 0.99)
    assert verdicts(tmp_path, arms)[TRADED.id] is Verdict.FAILS


def test_the_slope_is_that_of_the_errors(tmp_path: Path) -> None:
    arms = foreseen()
    for count in ATTRIBUTE_COUNTS:
        arms[repr(Paired(images=f"attributes-{count}"))] = measured(0.1 * count**-0.5, 1.1, 0.9)
    plan = load_paper("vicious").plan(ONE, ["A4"])
    (finding,) = plan.findings(evidence(tmp_path, arms))
    found = {
        one.measured: one.quantity for one in finding.quantities if one.subject == "attributes"
    }
    assert found["rank correlation of outputs and risk"].value == 0
    slope = found["slope of ln MSE, a doubling"]
    assert slope.value == pytest.approx(-0.5 * np.log(2), rel=1e-6)
    assert found["MSE, fewest over most outputs"].value == pytest.approx(20**0.5, rel=1e-6)


def test_missing_arms_leave_the_other_sets_read(tmp_path: Path) -> None:
    arms = foreseen()
    del arms[repr(Paired(images="faces"))]
    plan = load_paper("vicious").plan(ONE, ["A1"])
    finding = next(
        one for one in plan.findings(evidence(tmp_path, arms)) if one.claim.id == KEPT.id
    )
    assert finding.verdict is Verdict.UNDECIDED
    assert "missing" in finding.note
    assert {one.subject for one in finding.quantities} == set(SETS) - {"faces"}


def test_the_gallery_is_one_small_picture(tmp_path: Path) -> None:
    arms = {}
    for name in SHOWN:
        for arm in (
            Yardsticks(images=name, side=32),
            Paired(images=name, weight=0, side=32),
            Paired(images=name, side=32),
        ):
            arms[repr(arm)] = measured(0.02, 1.1, 0.9)
    gallery(evidence(tmp_path / "run", arms), ONE, tmp_path)
    assert 0 < (tmp_path / "vicious.png").stat().st_size < 300_000


def test_digits_are_trained_on_and_scored(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    with Store(tmp_path) as store:
        store.write_json("manifest.json", {})
    bench = Bench(open_run(tmp_path))
    arm = Paired(images="digits", steps=19)
    found = arm.run(bench)
    again = arm.run(bench)
    assert {"mse", "risk", "ssim", "right", "pictures"} == set(found.arrays)
    assert all(np.array_equal(found.arrays[key], again.arrays[key]) for key in found.arrays)
    other = replace(arm, seed=1).run(bench)
    assert not np.array_equal(other.arrays["mse"], found.arrays["mse"])
    yardstick = Yardsticks(images="digits").run(bench)
    assert yardstick.arrays["mse"].mean() < 0.7 * yardstick.arrays["mse mean"].mean()
    assert whitening_of("digits", tmp_path, 16) is whitening_of("digits", tmp_path, 16)


def test_images_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="mnist"):
        pictures_of("mnits", tmp_path)
    with pytest.raises(UnknownName, match="attributes"):
        pictures_of("attributes-21", tmp_path)
    with pytest.raises(UnknownName, match="classes"):
        pictures_of("identities-3", tmp_path)
    with pytest.raises(BadData, match="cartoon_attributes"):
        pictures_of("attributes-4", tmp_path / "run")
    with pytest.raises(UnknownName, match="autoencoder"):
        Paired(images="digits", kind="auto")
    assert len(set(ATTRIBUTES)) == 20
