"""Trainings under label distributions: what an arm measures and how claims are judged."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from splitveil.attacks import Ridge
from splitveil.audit.store import Run
from splitveil.data import Splits, TrainingImages, load_data
from splitveil.defences import parse_components
from splitveil.defences.harden import harden
from splitveil.errors import BadPlan
from splitveil.measures import mse_per_image
from splitveil.models import load_model
from splitveil.partition import trace
from splitveil.quantities import Kind, Quantity
from splitveil.reproduce import Bench, Evidence, Measured, Scale, Verdict
from splitveil.reproduce.experiment import ArmMissing
from splitveil.reproduce.gpz import training_claims as claims
from splitveil.reproduce.gpz import vortex
from splitveil.reproduce.gpz.probe import over_seeds, permuted_shares, ridge_errors
from splitveil.reproduce.gpz.vortex import LABELS, NEGATIVE, ONE_HOT, POSITIVE, SETTINGS, arms
from splitveil.reproduce.gpz.vortex_findings import draw, judge
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Observation, white_box
from splitveil.training import Schedule

SEEDS = Scale(seeds=3)


@pytest.fixture(scope="module")
def demo() -> Splits:
    return load_data("demo")


class DemoBench(Bench):
    def images(self) -> Splits:
        return load_data("demo")


def few(demo: Splits) -> TrainingImages:
    part = demo.auxiliary.take(torch.arange(300))
    held = demo.validation.take(torch.arange(100))
    return TrainingImages(name="demo", train=part, validation=held, probe=held)


def test_the_ridge_of_the_experiments_is_the_recipe(demo: Splits) -> None:
    traced = trace(load_model("vgg").network, demo.test.x[:2])
    known, hidden = demo.auxiliary.take(torch.arange(250)), demo.test.take(torch.arange(60))
    cut = traced.cut("pool4")
    z = [vortex.features(traced, part, ["pool4"])[cut.id] for part in (known, hidden)]
    for labelled in (True, False):
        partition = traced.split(cut)
        knowledge = white_box(partition, Auxiliary(known.x, known.y), knows_label=labelled)
        seen = Observation(z[1][:, None], cut.layout, hidden.y if labelled else None)
        rebuilt = Ridge().fit(knowledge, Rng(0))(seen, Rng(1))
        expected = np.asarray(mse_per_image(rebuilt, hidden.x), dtype=np.float64)
        found = ridge_errors((z[0], known), (z[1], hidden), labels_known=labelled)
        np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_intervals_over_seeds_are_students() -> None:
    values = [1.0, 2.0, 4.0]
    found = over_seeds(values, unit="")
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (found.value, found.low, found.high) == pytest.approx((7 / 3, low, high))
    assert over_seeds([1.0], unit="").high == math.inf


def test_shares_under_permuted_labels_are_chance_and_under_true_ones_are_not() -> None:
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(200) % 4
    z = torch.randn(200, 30, generator=generator) + 3 * torch.nn.functional.one_hot(y, 30)
    shares = permuted_shares(z, y, 4, Rng(0))
    error = np.std(shares, ddof=1) / math.sqrt(len(shares))
    assert abs(np.mean(shares) - 1) < 4 * error
    # unpermuted, classes that stand apart hold far more
    means = torch.stack([z[y == c].mean(0) for c in range(4)])
    between = float((means - z.mean(0)).square().sum(1).mean())
    total = float((z - z.mean(0)).square().sum(1).mean())
    assert between / total * 199 / 3 > 10


def test_a_transformer_is_drawn_anew(demo: Splits) -> None:
    kept = []
    for seed in (1, 1, 2):
        network = harden(
            load_model("vit").network,
            replace(few(demo), train=demo.auxiliary.take(torch.arange(40))),
            parse_components(ONE_HOT),
            schedule=Schedule(epochs=1, learning_rate=1e-12),
            rng=Rng(seed),
            patience=None,
            start="scratch",
        ).network
        kept.append(network.state_dict()["network.blocks.0.mlp.0.weight"])
        assert float(network.state_dict()["network.positions"].abs().max()) < 1e-6
    assert torch.equal(kept[0], kept[1])
    assert not torch.equal(kept[0], kept[2])


def test_an_arm_trains_measures_and_takes_up_its_training(
    demo: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vortex, "training_images", lambda count: few(demo))
    monkeypatch.setattr(vortex, "KNOWN", 150)
    monkeypatch.setattr(vortex, "HIDDEN", 50)
    arm = vortex.VortexArm(network="vgg", labels=NEGATIVE, images=500, epochs=1)
    bench = DemoBench(Run(tmp_path))
    monkeypatch.setitem(SETTINGS, "vgg", replace(SETTINGS["vgg"], epochs=1))
    found = arm.run(bench)
    again = arm.run(bench)
    assert set(found.arrays) == {"right", "ridge/pool5", "blind/pool5"}
    assert len(found.arrays["right"]) == len(demo.validation) + len(demo.test)
    assert found.details["training_cpu_seconds"] == again.details["training_cpu_seconds"]
    assert np.array_equal(found.arrays["ridge/pool5"], again.arrays["ridge/pool5"])
    states: Any = found.details["states"]
    assert [state["number"] for state in states] == [0, 1]


def test_an_arm_without_a_folder_says_so() -> None:
    with pytest.raises(BadPlan, match="folder"):
        vortex.folder_of(Bench())


def quantity(value: float) -> dict[str, Any]:
    return Quantity.exact(value, unit="", kind=Kind.PROXY).to_json()


def measured(network: str, labels: str, seed: int, radius: float, nc1: float) -> Measured:
    names = [*SETTINGS[network].cuts, "logits"]
    at = {
        name: {
            measure: quantity(value * (1 + 0.01 * seed))
            for measure, value in (
                ("radius", radius if name in names[-2:] else 1.0),
                ("nc1", nc1 if name in names[-2:] else 1.0),
                ("scatter_between", 1.0),
                ("norm", 1.0),
            )
        }
        for name in names
    }
    state = {"number": 1, "loss": 1.0, "validation_loss": 1.0, "accuracy": quantity(0.9)}
    right = np.ones(400)
    right[: 40 if labels == ONE_HOT else 36] = 0
    errors = np.random.default_rng(seed).uniform(0.5, 1.5, 200)
    errors *= 1.5 if labels == POSITIVE else 1.0
    arrays = {f"ridge/{cut}": errors for cut in SETTINGS[network].cuts}
    arrays |= {f"blind/{SETTINGS[network].cuts[-1]}": errors, "decoder/pool5": errors}
    return Measured(
        details={
            "cuts": [{"id": name, "name": name} for name in names],
            "states": [{**state, "outputs": {}, "cuts": at}],
            "permuted": {cut: [0.98, 1.02] * 10 for cut in SETTINGS[network].cuts},
        },
        arrays={"right": right, **arrays},
    )


def evidence_of(monkeypatch: pytest.MonkeyPatch, networks: tuple[str, ...]) -> Evidence:
    radius = {ONE_HOT: 1.0, POSITIVE: 0.5, NEGATIVE: 3.0}
    nc1 = {ONE_HOT: 1.0, POSITIVE: 0.9, NEGATIVE: 1.1}
    table = {
        arm: measured(arm.network, arm.labels, arm.seed, radius[arm.labels], nc1[arm.labels])
        for arm in arms(3, networks)
    }
    monkeypatch.setattr(Evidence, "find", lambda self, arm: table.get(arm))
    return Evidence(Run(Path()), "", {})


def test_claims_on_the_vortex_follow_from_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = evidence_of(monkeypatch, tuple(SETTINGS))
    found = {one.claim.id: one for one in judge(evidence, SEEDS)}
    verdicts = {key: one.verdict for key, one in found.items()}
    assert verdicts == {
        "gpz.C7a": Verdict.HOLDS,
        "gpz.C7b": Verdict.FAILS,  # nc1 falls by a tenth only
        "gpz.C7c": Verdict.HOLDS,
        "gpz.C7s": Verdict.HOLDS,
        "gpz.C8": Verdict.HOLDS,
        "gpz.C9": Verdict.HOLDS,
        "gpz.C9d": Verdict.HOLDS,
        "gpz.C13a": Verdict.HOLDS,
    }
    halves = [one.quantity.value for one in found["gpz.C7a"].quantities]
    assert halves == pytest.approx([0.5] * 8)
    points = found["gpz.C8"].quantities[0].quantity
    assert points.value == pytest.approx(100 * 4 / 400)
    assert points.low < points.value < points.high
    assert found["gpz.C9"].quantities[0].quantity.value == pytest.approx(1.5)


def test_networks_that_were_not_run_leave_claims_undecided(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    evidence = evidence_of(monkeypatch, ("vgg",))
    found = {one.claim.id: one for one in judge(evidence, SEEDS)}
    assert found["gpz.C7a"].verdict is Verdict.UNDECIDED
    assert "vit not run" in found["gpz.C7a"].note
    assert {one.claim for one in found.values()} == set(claims.VORTEX)
    draw(evidence, SEEDS, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["vortex-vgg.svg"]


def test_nothing_run_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    evidence = evidence_of(monkeypatch, ())
    with pytest.raises(ArmMissing, match="no network"):
        judge(evidence, SEEDS)
    with pytest.raises(ArmMissing, match="no network"):
        draw(evidence, SEEDS, tmp_path)


def test_every_setting_has_arms_and_labels_that_parse() -> None:
    found = arms(2)
    assert len(found) == 2 * 3 * len(SETTINGS)
    assert all(len(parse_components(labels)) == 1 for labels in LABELS)
