"""Conditional entropy: claims as the page sets them, judged rightly from planted arms."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from splitveil.data import LabelledImages, TrainingImages
from splitveil.defences import parse_components
from splitveil.models import load_model
from splitveil.partition import trace
from splitveil.release import GaussianNoise
from splitveil.release.chain import ChainedRelease
from splitveil.release.sparse import Dropout
from splitveil.reproduce import Evidence, Finding, Measured, Scale, Verdict, load_paper
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.cem.attacked import Attacked
from splitveil.reproduce.cem.bases import bases, larger, noise, signs
from splitveil.reproduce.cem.choosing import (
    BASES,
    NOISE,
    OURS,
    PLAIN,
    PUBLISHED,
    priced,
)
from splitveil.reproduce.cem.claims import CLAIMS, MEANS
from splitveil.reproduce.cem.clusters import followed
from splitveil.reproduce.cem.controlled import ChosenTarget, Controlled, controlled
from splitveil.reproduce.cem.figures import figures
from splitveil.reproduce.cem.grid import grid
from splitveil.reproduce.cem.images import KINDS, Images
from splitveil.reproduce.cem.mixed import ChosenMix, Mixed, mixed
from splitveil.reproduce.cem.moved import moved
from splitveil.reproduce.cem.networks import Moved, small
from splitveil.reproduce.cem.rates import rates
from splitveil.reproduce.cem.simpler import ChosenRung, Simpler, simpler, simpler_text
from splitveil.reproduce.cem.steered import BASE, ChosenShare, Steered, steered
from splitveil.reproduce.cem.strength import strength
from splitveil.reproduce.experiment import Arm, ArmMissing
from splitveil.rng import Rng

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hypotheses-cem.md"
SCALE = Scale(seeds=3)


class Planted(Evidence):
    """Evidence from a function of an attacked arm; None is an arm that has not run."""

    def __init__(self, plant: Callable[[Any], Measured | None]) -> None:
        object.__setattr__(self, "plant", plant)

    def find(self, arm: Arm) -> Measured | None:
        found: Measured | None = self.plant(arm)  # type: ignore[attr-defined]
        return found

    def take(self, arm: Arm) -> Measured:
        found = self.find(arm)
        if found is None:
            raise ArmMissing(f"{arm!r} has not run")
        return found


def _arm(arm: Attacked, mse: float, *, rate: float = 0.6, accuracy: float = 0.8) -> Measured:
    """An arm whose errors scatter a little about `mse`, alike for all forms of a seed."""
    scatter = Rng(arm.seed, (arm.base, arm.data)).numpy().normal(0, 0.05, 30)
    own = Rng(arm.seed, (repr(arm),)).numpy().normal(0, 0.003, 30)
    errors = mse * np.exp(scatter + own)
    return Measured(
        details={
            "accuracy": accuracy,
            "rate": rate,
            "rate upper": rate + 0.05,
            "rate followed": 1.02 * rate,
            "values": 256,
        },
        arrays={"mse": errors, "ssim": 1 - 10 * errors},
    )


def _found(findings: tuple[Finding, ...], claim: str) -> Finding:
    (found,) = (one for one in findings if one.claim.id == f"cem.{claim}")
    return found


def test_every_claim_is_answered_by_an_experiment_and_stands_on_the_page() -> None:
    plan = load_paper("cem").plan(SCALE)
    answered = [claim.id for one in plan.experiments for claim in one.claims]
    assert sorted(answered) == sorted(claim.id for claim in CLAIMS)
    rows = dict(
        re.findall(r"^\| (C[^|]+?) \|(.+)\|$", PAGE.read_text().split("## Second run")[1], re.M)
    )
    listed = {name for row in rows for name in row.split(", ")}
    assert {claim.id.removeprefix("cem.") for claim in CLAIMS} <= listed
    assert f"All arms of the four runs together {plan.minutes:.0f}." in " ".join(
        PAGE.read_text().split()
    )


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("form", [PLAIN, OURS, PUBLISHED])
def test_every_arm_names_components_that_can_be_parsed(base: str, form: str) -> None:
    text = priced(base, form, 0.4, clusters=2, covariance="diagonal")
    kinds = [type(one).__name__ for one in parse_components(text)]
    extra = {PLAIN: [], OURS: ["ConditionalEntropy"], PUBLISHED: ["PublishedConditionalEntropy"]}
    assert kinds[0] == "Noise"
    assert kinds[len(parse_components(BASES[base].format(noise=NOISE))) :] == extra[form]


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(1.2, Verdict.HOLDS), (1.02, Verdict.FAILS), (1.1, Verdict.UNDECIDED)]
)
def test_a_gain_is_judged_by_its_interval(ratio: float, verdict: Verdict) -> None:
    def plant(arm: Attacked) -> Measured:
        return _arm(arm, {PLAIN: 0.015, OURS: 0.015 * ratio, PUBLISHED: 0.015}[arm.form])

    found = noise(SCALE).findings(Planted(plant))
    assert _found(found, "C1a").verdict is verdict
    assert _found(found, "C1b").verdict is Verdict.FAILS
    gain = _found(found, "C1a").quantities[0].quantity
    assert gain.value == pytest.approx(np.log(ratio), abs=0.003)


def test_bases_are_counted_whole_and_missing_ones_stand_for_either() -> None:
    gains = {"noise": 1.3, "dropout": 1.3, "bottleneck": 1.3, "nopeek": 1.0}

    def plant(arm: Attacked) -> Measured | None:
        if arm.base not in gains:
            return None
        return _arm(arm, 0.015 * (gains[arm.base] if arm.form == OURS else 1))

    found = bases(SCALE).findings(Planted(plant))
    count = _found(found, "C1d").quantities[0].quantity
    assert (count.low, count.value, count.high) == (2, 2, 3)
    assert _found(found, "C1d").verdict is Verdict.UNDECIDED
    assert not _found(found, "C1e").was_run or not _found(found, "C1e").quantities
    gains["adversary"] = 1.3
    found = bases(SCALE).findings(Planted(plant))
    assert _found(found, "C1d").verdict is Verdict.HOLDS
    mean = _found(found, "C1e").quantities[0].quantity
    assert mean.value == pytest.approx(1.3**0.8, rel=0.01)
    assert _found(found, "C1e").verdict is Verdict.HOLDS


def test_the_grid_is_averaged_over_every_base_and_kind_of_images() -> None:
    gains = {"fashion-mnist": 1.0, "mnist": 1.2, "emoji": 1.2, "faces": 1.44}

    def plant(arm: Attacked) -> Measured | None:
        return _arm(arm, 0.015 * (gains[arm.data] if arm.form == OURS else 1))

    found = _found(grid(SCALE).findings(Planted(plant)), "C1i")
    assert found.quantities[0].quantity.value == pytest.approx(1.2, rel=0.005)
    assert found.verdict is Verdict.HOLDS
    kinds = {one.measured: one.quantity.value for one in found.quantities}
    assert kinds["mean ratio, faces"] == pytest.approx(1.44, rel=0.01)
    del gains["emoji"]
    missing = grid(SCALE).findings(Planted(lambda arm: plant(arm) if arm.data in gains else None))
    assert not _found(missing, "C1i").quantities


def test_strength_ranks_and_clusters_that_follow() -> None:
    def plant(arm: Attacked) -> Measured:
        priced = 0 if arm.form == PLAIN else arm.reach
        return _arm(arm, 0.015 * (1 + 0.3 * priced) * (1 + arm.noise))

    found = strength(SCALE).findings(Planted(plant))
    assert _found(found, "C3").verdict is Verdict.HOLDS
    assert _found(followed(SCALE).findings(Planted(plant)), "C10a").verdict is Verdict.HOLDS
    assert not _found(strength(SCALE).findings(Planted(lambda arm: None)), "C3").was_run


def test_signs_agree_where_a_lower_rate_goes_with_a_larger_error() -> None:
    def plant(arm: Attacked, rate: float) -> Measured:
        return _arm(
            arm, 0.015 if arm.form == PLAIN else 0.018, rate=0.6 if arm.form == PLAIN else rate
        )

    same = signs(SCALE).findings(Planted(lambda arm: plant(arm, 0.5)))
    opposite = signs(SCALE).findings(Planted(lambda arm: plant(arm, 0.7)))
    assert _found(same, "C4b").quantities[0].quantity.value == 1
    assert _found(opposite, "C4b").verdict is Verdict.FAILS


def test_a_network_without_arms_is_named() -> None:
    def plant(arm: Attacked) -> Measured | None:
        return _arm(arm, 0.01) if arm.network == "vgg" else None

    found = _found(larger(SCALE).findings(Planted(plant)), "C1g")
    assert found.verdict is Verdict.FAILS
    assert "resnet" in found.note


def _labelled(n: int, seed: int) -> LabelledImages:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    x = torch.rand(n, 1, 32, 32, generator=generator) * 0.3 + y[:, None, None, None] / 5
    return LabelledImages(x, y)


def test_rates_see_the_noise_and_not_what_is_dropped_behind_it() -> None:
    train, held = _labelled(300, 0), _labelled(120, 1)
    traced = trace(small(1, 3), train.x[:2])
    cut = traced.cut("7")
    with torch.no_grad():
        z = traced.features(train.x, [cut])[cut.id]
    found = {}
    for sigma in (0.1, 1.0):
        quiet = GaussianNoise(sigma=sigma).fit(z)
        alone = rates(traced.split(cut, quiet), train, held, classes=3)
        dropped = rates(
            traced.split(cut, ChainedRelease((quiet, Dropout(rate=0.5)))), train, held, classes=3
        )
        assert alone == dropped
        assert alone["rate"] < alone["rate upper"]
        assert alone["rate followed"] == pytest.approx(alone["rate"], rel=0.1)
        found[sigma] = alone["rate"]
    assert found[0.1] > found[1.0]


def test_the_figure_marks_every_place_that_was_compared(tmp_path: Path) -> None:
    def plant(arm: Attacked) -> Measured | None:
        return (
            _arm(arm, 0.015) if arm.base in ("noise", "nopeek") and arm.form != PUBLISHED else None
        )

    figures(Planted(plant), SCALE, tmp_path)
    drawn = (tmp_path / "cem-gains.svg").read_text()
    assert drawn.count("nopeek, ours") == 1
    assert "mnist, ours" in drawn
    assert "published" not in drawn.split("smallest")[0]
    with pytest.raises(ArmMissing, match="no base"):
        figures(Planted(lambda arm: None), SCALE, tmp_path)


def test_a_price_that_meets_its_target_is_judged_on_both_networks() -> None:
    gains = {"vgg": 1.3, "resnet": 1.3}

    def plant(arm: Arm) -> Measured | None:
        if isinstance(arm, ChosenShare):
            return Measured(details={"share": 0.6})
        assert isinstance(arm, Attacked)
        return _arm(arm, 0.015 * (gains[arm.network] if isinstance(arm, Steered) else 1))

    assert _found(steered(SCALE).findings(Planted(plant)), "C1h").verdict is Verdict.HOLDS
    gains["resnet"] = 1.0
    assert _found(steered(SCALE).findings(Planted(plant)), "C1h").verdict is Verdict.FAILS
    assert "0.6" in _found(steered(SCALE).findings(Planted(plant)), "C1h").note
    missing = steered(SCALE).findings(
        Planted(lambda arm: None if isinstance(arm, Steered) else plant(arm))
    )
    assert not _found(missing, "C1h").quantities


def test_larger_networks_are_averaged_over_every_kind_of_images() -> None:
    gains = {("vgg", "emoji"): 1.5, ("resnet", "emoji"): 1.5}

    def plant(arm: Arm) -> Measured | None:
        if isinstance(arm, ChosenShare):
            return Measured(details={"share": 0.6})
        assert isinstance(arm, Attacked)
        ratio = gains.get((arm.network, arm.data), 1.2) if isinstance(arm, Steered) else 1.0
        return _arm(arm, 0.015 * ratio)

    found = moved(SCALE).findings(Planted(plant))
    assert _found(found, "C1j").verdict is Verdict.HOLDS
    mean = _found(found, "C1k").quantities[0].quantity
    assert mean.value == pytest.approx(1.2**0.75 * 1.5**0.25, rel=0.005)
    assert _found(found, "C1k").verdict is Verdict.HOLDS
    gains["resnet", "faces"] = 1.0
    assert _found(moved(SCALE).findings(Planted(plant)), "C1j").verdict is Verdict.FAILS
    lacking = moved(SCALE).findings(
        Planted(
            lambda arm: None if isinstance(arm, Steered) and arm.network == "resnet" else plant(arm)
        )
    )
    assert _found(lacking, "C1j").quantities
    assert not _found(lacking, "C1k").quantities
    assert _found(lacking, "C1k").note.startswith("4 missing")


def test_simpler_means_are_judged_at_each_network() -> None:
    errors = {"more noise": 0.016, "fewer channels": 0.016}

    def plant(arm: Arm) -> Measured | None:
        if isinstance(arm, ChosenRung):
            return Measured(details={"rung": 5.0})
        if isinstance(arm, Simpler):
            return _arm(arm, errors[arm.means])
        assert isinstance(arm, Attacked)
        return _arm(arm, 0.018 if isinstance(arm, Steered) else 0.015)

    found = _found(simpler(SCALE).findings(Planted(plant)), "C1m")
    assert found.verdict is Verdict.HOLDS
    assert "vgg, fewer channels 5" in found.note
    errors["fewer channels"] = 0.021
    assert _found(simpler(SCALE).findings(Planted(plant)), "C1m").verdict is Verdict.FAILS


def test_noise_with_cem_is_judged_against_more_noise_alone() -> None:
    def plant(arm: Arm) -> Measured | None:
        if isinstance(arm, ChosenMix):
            return Measured(details={"share": 0.7, "target": 0.4})
        assert isinstance(arm, Attacked)
        return _arm(arm, 0.018 if isinstance(arm, Mixed) and arm.network == "vgg" else 0.016)

    found = _found(mixed(SCALE).findings(Planted(plant)), "C1n")
    assert found.verdict is Verdict.UNDECIDED
    ratios = {
        one.subject: one.quantity.value
        for one in found.quantities
        if one.measured.startswith("ln error")
    }
    assert ratios["vgg"] == pytest.approx(np.log(18 / 16), abs=0.003)
    assert "vgg 0.7" in found.note


@pytest.mark.parametrize("means", MEANS)
def test_simpler_means_change_one_number_of_the_base(means: str) -> None:
    base = parse_components(simpler_text(means, 0.3 if means == "more noise" else 8.0))
    assert base == parse_components(BASES[BASE].format(noise=NOISE))
    other = parse_components(simpler_text(means, 2.0))
    assert sum(a != b for a, b in zip(base, other, strict=True)) == 1


def test_the_controlled_price_is_compared_with_the_base_and_the_published_form() -> None:
    def plant(arm: Arm) -> Measured | None:
        if isinstance(arm, ChosenTarget):
            return Measured(details={"share": 0.4})
        assert isinstance(arm, Attacked)
        ratios = {PLAIN: 1.0, PUBLISHED: 1.1, OURS: 1.02}
        return _arm(arm, 0.015 * (1.3 if isinstance(arm, Controlled) else ratios[arm.form]))

    found = controlled(SCALE).findings(Planted(plant))
    gain, against = (_found(found, name) for name in ("C1l", "C1y"))
    assert gain.verdict is Verdict.HOLDS
    assert against.verdict is Verdict.HOLDS
    assert gain.quantities[0].quantity.value == pytest.approx(1.3, rel=0.005)
    assert against.quantities[0].quantity.value == pytest.approx(1.3 / 1.1, rel=0.005)
    lacking = controlled(SCALE).findings(
        Planted(lambda arm: None if isinstance(arm, Controlled) else plant(arm))
    )
    assert not _found(lacking, "C1l").was_run


def test_bundled_networks_see_grey_images_divided_alike() -> None:
    def images(n: int, seed: int) -> LabelledImages:
        grey = _labelled(n, seed)
        return LabelledImages(
            grey.x.expand(-1, 3, -1, -1) * torch.tensor([1, 0.5, 0]).view(3, 1, 1), grey.y
        )

    held = images(6, 1)
    colour = Images(
        training=TrainingImages(
            name="toy",
            train=images(12, 0),
            validation=held,
            probe=held,
            class_names=("a", "b", "c"),
        ),
        choosing=images(6, 2),
        auxiliary=images(6, 3),
        picking=held,
        test=images(9, 4),
        kind=KINDS["emoji"],
    )
    grey = colour.in_grey()
    weight = 0.299 + 0.5 * 0.587
    assert torch.allclose(grey.test.x, weight * _labelled(9, 4).x, atol=1e-6)
    assert grey.training.validation is grey.picking
    assert grey.training.train.y is colour.training.train.y
    assert grey.in_grey().test.x.equal(grey.test.x)


def test_a_moved_network_keeps_all_but_its_last_layer() -> None:
    bundled = load_model("vgg").network
    found = Moved(data="emoji", network="vgg").untrained(Bench(), 9)
    own, other = bundled.state_dict(), found.state_dict()
    changed = {
        name
        for name in own
        if own[name].shape != other[name].shape or not own[name].equal(other[name])
    }
    assert changed == {"network.classifier.weight", "network.classifier.bias"}
    assert other["network.classifier.weight"].shape[0] == 9
