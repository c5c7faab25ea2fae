"""The golden-zone experiments: places are what they say, rules read planted data as they must."""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from splitveil.data import load_data
from splitveil.errors import BadPlan, UnknownName
from splitveil.models import load_model
from splitveil.partition import trace
from splitveil.quantities import Kind, Quantity
from splitveil.reproduce import Bench, Evidence, Measured, Scale, Verdict, load_paper, reproduce
from splitveil.reproduce import bench as bench_module
from splitveil.reproduce.bench import Reference
from splitveil.reproduce.experiment import Arm, ArmMissing
from splitveil.reproduce.gpz import attacks, enhanced
from splitveil.reproduce.gpz.claims import CLAIMS, ENHANCED, NOISES
from splitveil.reproduce.gpz.enhanced import Enhancement, enhancement
from splitveil.reproduce.gpz.figures import figures
from splitveil.reproduce.gpz.places import (
    PLACES,
    TOKEN,
    auxiliary_rows,
    partition_at,
    width_at,
)
from splitveil.reproduce.gpz.radius import Sanity, Spread, switch_depth
from splitveil.reproduce.gpz.zone import alignment, delay, depth, ranking, zone_starts
from splitveil.reproduce.run import scope

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hypotheses-gpz.md"
TINY = attacks.Effort(auxiliary=64, test=30, epochs=1, width=8, depth=1)


@pytest.fixture(scope="module")
def demo() -> Any:
    return load_data("demo", size=32, channels=1)


@pytest.fixture
def on_demo(demo: Any, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(bench_module, "_images", lambda: demo)
    return Bench()


@pytest.mark.parametrize("network", PLACES)
def test_every_place_exists_has_its_width_and_leaves_the_logits_as_they_are(network: str) -> None:
    images = load_data("demo", size=32, channels=1).test.x[:4]
    model = load_model(network)
    reference = Reference(model, trace(model.network, images[:2]))
    extra = [TOKEN] if network == "vit" else []
    with torch.no_grad():
        whole = model.network(images)
    for name in [*PLACES[network], *extra]:
        partition = partition_at(reference, name)
        assert partition.cut.layout.size == width_at(network, name)
        z = partition.features(images)
        assert z.shape == (4, width_at(network, name))
        assert torch.equal(partition.predict(z), whole)


def test_seeds_have_auxiliary_images_of_their_own() -> None:
    order = torch.randperm(100)
    samples = [set(auxiliary_rows(100, 30, seed, order).tolist()) for seed in range(3)]
    assert not (samples[0] & samples[1]) | (samples[1] & samples[2])
    with pytest.raises(BadPlan, match="3 disjoint"):
        auxiliary_rows(100, 30, 3, order)
    with pytest.raises(UnknownName, match="pool"):
        width_at("vgg", "pol3")


def test_the_page_of_hypotheses_names_every_claim_with_its_thresholds() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for claim in CLAIMS:
        number = claim.id.partition(".")[2]
        rows = re.search(rf"^\| {number} \|.*?(?=^\| C|\Z)", page, re.MULTILINE | re.DOTALL)
        assert rows, claim.id
        for criterion in claim.criteria:
            if number not in ("C12", "C14"):
                assert criterion.range in rows.group(), (claim.id, criterion.range)


def test_records_of_earlier_versions_are_found_again() -> None:
    key = scope(load_paper("gpz"))
    assert key == "4b7ac85355f1fc62"
    assert Sanity(seed=0, network="vgg").trial(key).id == "0b87787816790b28"


def test_declared_minutes_are_those_of_the_page() -> None:
    arms = load_paper("gpz").plan(Scale(), ["C1", "C2", "C3", "C4", "C5", "C6", "C11"]).arms
    minutes = math.fsum(arm.minutes for arm in arms if isinstance(arm, attacks.Inversion))
    assert f"attacks {math.ceil(minutes)}, radii" in PAGE.read_text(encoding="utf-8")


def rows_of(ratios: list[float], sizes: list[int]) -> list[dict[str, Any]]:
    """Cuts with S_W / S_T as given, balanced classes: r(e) in closed form."""
    rows = []
    for k, (rho, size) in enumerate(zip(ratios, sizes, strict=True)):
        values = {f"leak({e})": math.log(10) + size / 2 * math.log1p(rho / e**2) for e in NOISES}
        rows.append(
            {
                "depth": (k + 1) / len(sizes),
                "features": size,
                "values": values,
                "replicates": {name: [value] * 4 for name, value in values.items()},
            }
        )
    return rows


def test_the_switch_is_where_the_closed_form_puts_it() -> None:
    # high SNR: the class form wins if S_T / S_W > 10^(2 / D)
    ratios, sizes = [0.99, 0.9999, 0.9, 0.5], [4096, 4096, 64, 64]
    wins = [1 / rho > 10 ** (2 / size) for rho, size in zip(ratios, sizes, strict=True)]
    assert wins == [True, False, True, True]
    found = switch_depth(rows_of(ratios, sizes), 0.01)
    assert found is not None
    assert (found.value, found.low, found.high) == (0.75, 0.75, 0.75)
    assert switch_depth(rows_of([0.5, 0.999], [64, 64]), 0.01) is None


def test_one_network_end_to_end(on_demo: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    sane = Sanity(network="vgg").run(on_demo)
    assert all(math.isfinite(q.value) for q in sane.quantities.values())
    claim = next(c for c in CLAIMS if c.id == "gpz.C12")
    assert {c.measured for c in claim.criteria} == set(sane.quantities)
    for criterion in claim.criteria:
        assert criterion.of(sane.quantities[criterion.measured]) is Verdict.HOLDS, criterion
    arm = attacks.Inversion(network="vgg", cut="pool5", effort=TINY)
    first, again = arm.run(on_demo), arm.run(on_demo)
    assert np.array_equal(first.arrays["decoder"], again.arrays["decoder"])
    other = dataclasses.replace(arm, seed=1).run(on_demo)
    assert not np.array_equal(first.arrays["decoder"], other.arrays["decoder"])
    assert first.arrays["ridge"].shape == (30,)


NAMES = ("nc1", "radius", "v", "leak(0.1)")


def test_the_gap_between_levels_is_judged_from_both_decoders() -> None:
    scale = Scale(seeds=2)
    noise = np.random.default_rng(1).gamma(9, 1 / 9, 300)
    levels = {"pool2": 0.01, "pool5": 0.04}
    arms = enhancement(scale).arms
    measured: dict[Arm, Measured] = {
        arm: Measured(
            arrays={"base": levels[arm.cut] * noise, "enhanced": 0.9 * levels[arm.cut] * noise}
        )
        for arm in arms
        if isinstance(arm, Enhancement)
    }
    (finding,) = enhancement(scale).findings(Planted(measured))
    assert finding.verdict is Verdict.HOLDS
    values = {one.measured: one.quantity.value for one in finding.quantities}
    assert values["MSE(enhanced) / MSE(base)"] == pytest.approx(0.9)
    assert values[ENHANCED.criteria[1].measured] == pytest.approx(0.75)


class Planted(Evidence):
    """Arms that measured what a test says they did."""

    def __init__(self, measured: dict[Arm, Measured]) -> None:
        object.__setattr__(self, "measured", measured)

    def take(self, arm: Arm) -> Measured:
        if arm not in self.measured:  # type: ignore[attr-defined]
            raise ArmMissing(f"{arm!r} has not run")
        found: Measured = self.measured[arm]  # type: ignore[attr-defined]
        return found


def planted(levels: dict[str, list[float]], nc1: dict[str, list[float]]) -> Planted:
    """Errors with the given means at each place, and nc1; the rest of the radii follows nc1."""
    scale = Scale(seeds=2)
    generator = np.random.default_rng(0)
    noise = generator.gamma(9, 1 / 9, 200)
    measured: dict[Arm, Measured] = {
        arm: Measured(arrays={"class_mean": 0.1 * noise, "mean_image": 0.2 * noise})
        for arm in attacks.floors(scale)
    }
    centre = Quantity.exact(0.99, unit="share", kind=Kind.PROXY).to_json()
    for network, places in PLACES.items():
        rows = []
        for k, name in enumerate(places):
            for seed in range(scale.seeds):
                arm = attacks.Inversion(
                    network=network, cut=name, effort=attacks.effort_of(scale), seed=seed
                )
                error = levels[network][k] * noise * (1 + 0.01 * seed)
                measured[arm] = Measured(arrays={"ridge": error, "decoder": error})
            value = nc1[network][k]
            jitter = np.exp(generator.normal(0, 1e-4, 16))
            rows.append(
                {
                    "id": f"{network}-{name}",
                    "name": name,
                    "kind": "block",
                    "depth": (k + 1) / len(places),
                    "features": width_at(network, name),
                    "values": dict.fromkeys(NAMES, value),
                    "replicates": {name: list(value * jitter) for name in NAMES},
                    "centre_accuracy": centre,
                    "paper_raw": value,
                }
            )
        accuracy = Quantity.exact(0.99, unit="share", kind=Kind.MEASURED)
        measured[Spread(network=network)] = Measured(
            quantities={"accuracy": accuracy}, details={"cuts": rows}
        )
    return Planted(measured)


def shapes(late: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Errors that jump at place `late`, in others than vgg one later, and nc1 with them."""
    levels, nc1 = {}, {}
    for network, places in PLACES.items():
        jump = late + (network != "vgg")
        levels[network] = [(0.01 if k < jump else 0.09) * 1.01**k for k in range(len(places))]
        nc1[network] = [(10.0 if k < jump else 1.0) * 0.99**k for k in range(len(places))]
    return levels, nc1


def test_rules_find_a_planted_jump() -> None:
    scale = Scale(seeds=2)
    evidence = planted(*shapes(4))
    assert zone_starts(evidence, "vgg", scale) == ["pool4"] * 2
    assert zone_starts(evidence, "resnet", scale) == [list(PLACES["resnet"])[5]] * 2
    verdicts = {
        finding.claim.id: finding.verdict
        for make in (depth, alignment, ranking, delay, attacks.abruptness, attacks.ceiling)
        for finding in make(scale).findings(evidence)
    }
    assert verdicts == {f"gpz.C{k}": Verdict.HOLDS for k in (1, 2, 3, 4, 5, 11)}


def test_claims_fail_where_errors_rise_slowly_and_nc1_does_not_follow() -> None:
    scale = Scale(seeds=2)
    levels = {n: [0.01 * 1.1**k for k in range(len(p))] for n, p in PLACES.items()}
    nc1 = {n: [1.0 * 1.5**k for k in range(len(p))] for n, p in PLACES.items()}
    evidence = planted(levels, nc1)
    verdicts = {
        finding.claim.id: finding.verdict
        for make in (depth, ranking, attacks.abruptness, attacks.ceiling, delay)
        for finding in make(scale).findings(evidence)
    }
    assert verdicts == {
        **{f"gpz.C{k}": Verdict.FAILS for k in (1, 2, 4, 11)},
        "gpz.C5": Verdict.UNDECIDED,  # there is no zone
    }


def test_a_missing_arm_leaves_its_claims_undecided_with_the_reason() -> None:
    findings = depth(Scale(seeds=2)).findings(Planted({}))
    assert [f.verdict for f in findings] == [Verdict.UNDECIDED]
    assert "has not run" in findings[0].note


def test_the_figures_show_every_network(tmp_path: Path) -> None:
    figures(planted(*shapes(4)), Scale(seeds=2), tmp_path)
    for name in ("gpz-eta.svg", "gpz-nc1.svg"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        ElementTree.fromstring(text)
        assert all(f">{network}<" in text for network in PLACES)
        assert len(text) < 200_000


@pytest.mark.slow
def test_everything_end_to_end_on_bundled_images(
    on_demo: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (attacks, enhanced):
        monkeypatch.setattr(module, "effort_of", lambda scale: TINY)
    wanted = [claim.id for claim in CLAIMS]
    found = reproduce(load_paper("gpz").plan(Scale(seeds=2), wanted), tmp_path)
    assert not found.failed
    assert not found.pending
    assert all(f.quantities for f in found.findings if f.claim.id != "gpz.C5")
