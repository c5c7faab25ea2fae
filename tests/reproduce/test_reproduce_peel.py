"""PEEL's claims: as docs/peel.md sets them, and judged rightly from planted arms."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from splitveil.partition.layout import Layout, Part
from splitveil.reproduce import Evidence, Finding, Measured, Scale, Verdict, load_paper
from splitveil.reproduce.experiment import Arm, ArmMissing
from splitveil.reproduce.peel.depth import Depth, depth
from splitveil.reproduce.peel.exactness import Chain, Speed, exactness, speed
from splitveil.reproduce.peel.networks import FOUR, cut, jointly, network, patches, per_image
from splitveil.reproduce.peel.noise import Disturbed, disturbed, noise
from splitveil.reproduce.peel.places import Place, places
from splitveil.reproduce.peel.rivals import Shared, rivals, skips
from splitveil.reproduce.peel.strides import CELLS, Prefix, _median, counts
from splitveil.rng import Rng

PAGE = Path(__file__).resolve().parents[2] / "docs" / "peel.md"
SCALE = Scale(seeds=3)


class Planted(Evidence):
    """Evidence from a function of the arm; None is an arm that has not run."""

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


def _spread(centre: float, n: int, *path: object, width: float = 0.1) -> NDArray[np.float64]:
    noise = Rng(0).child(*map(str, path)).numpy().normal(0, width, n)
    return np.asarray(10 ** (centre + noise))


def _verdict(findings: tuple[Finding, ...], claim: str) -> Verdict:
    (found,) = (one for one in findings if one.claim.id == f"peel.{claim}")
    return found.verdict


def test_every_claim_of_the_page_is_planned_with_its_range() -> None:
    plan = load_paper("peel").plan(SCALE)
    rows = dict(re.findall(r"^\| (P\d+) \| [^|]+ \| (.+) \|$", PAGE.read_text(), re.MULTILINE))
    assert [f"peel.{name}" for name in rows] == [claim.id for claim in plan.claims]
    answered = {claim.id for one in plan.experiments for claim in one.claims}
    assert answered == {claim.id for claim in plan.claims}
    for claim in plan.claims:
        text = rows[claim.id.removeprefix("peel.")].replace("1/10", "0.1")
        for criterion in claim.criteria:
            for end in (criterion.low, criterion.high):
                assert np.isinf(end) or re.search(rf"(?<![\d.]){end:g}(?![\d.])", text), criterion


@pytest.mark.parametrize(("share_zero", "verdict"), [(-6.0, Verdict.HOLDS), (-12.0, Verdict.FAILS)])
def test_the_skip_is_judged_by_its_gap(share_zero: float, verdict: Verdict) -> None:
    def plant(arm: Shared) -> Measured:
        centre = share_zero if arm.share == 0 else -14.0
        return Measured(arrays={"mse": _spread(centre, 4, arm)})

    assert _verdict(skips(SCALE).findings(Planted(plant)), "P3") is verdict


def test_rivals_exactness_and_speed() -> None:
    def plant(arm: Arm) -> Measured:
        if isinstance(arm, Shared):
            centre = {"block by block": -12.0, "decoder": -2.0, "total variation": -11.5}
            return Measured(arrays={"mse": _spread(centre[arm.method], 4, arm)})
        if isinstance(arm, Chain):
            blocks = np.stack([_spread(-d, 4, arm, d) for d in range(4)])
            arrays = {
                "mse": _spread(-12.0, 16, arm),
                "published": _spread(-2.0, 4, arm, "theirs"),
                "chained": 1e4 * blocks,
                "reset": blocks,
            }
            return Measured(arrays=arrays)
        assert isinstance(arm, Speed)
        arrays = {"rivals": np.full(3, 0.02), "together": np.array([0.4, 0.41, 0.42])}
        return Measured(arrays=arrays, details={"seconds": 0.1, "published seconds": 5.0})

    evidence = Planted(plant)
    assert _verdict(rivals(SCALE).findings(evidence), "P4") is Verdict.FAILS
    found = exactness(SCALE).findings(evidence)
    assert _verdict(found, "P1") is Verdict.HOLDS
    assert _verdict(found, "P5") is Verdict.HOLDS
    assert _verdict(speed(SCALE).findings(evidence), "P2") is Verdict.HOLDS


def test_depth_is_a_correlation_of_means() -> None:
    def plant(arm: Depth, *, sign: float) -> Measured:
        centre = -14 + sign * 0.1 * arm.blocks
        return Measured(
            arrays={"mse": _spread(centre, 8, arm, width=0.01)},
            details={"condition": 0.5 * arm.blocks},
        )

    up = depth(SCALE).findings(Planted(lambda arm: plant(arm, sign=1.0)))
    down = depth(SCALE).findings(Planted(lambda arm: plant(arm, sign=-1.0)))
    assert (_verdict(up, "P7"), _verdict(down, "P7")) == (Verdict.HOLDS, Verdict.FAILS)
    assert up[0].quantities[0].quantity.value == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("slope", "verdict"), [(2.0, Verdict.HOLDS), (1.0, Verdict.FAILS)])
def test_the_slope_of_errors(slope: float, verdict: Verdict) -> None:
    def plant(arm: Disturbed) -> Measured:
        level = float(arm.how) if arm.how[0].isdigit() and " " not in arm.how else 1.0
        return Measured(arrays={"mse": _spread(slope * np.log10(level), 8, arm, width=0.02)})

    findings = noise(SCALE).findings(Planted(plant))
    assert _verdict(findings, "P8") is verdict
    assert findings[0].quantities[0].quantity.value == pytest.approx(slope, abs=0.05)


def test_counts_are_judged_from_what_has_run() -> None:
    def plant(arm: Prefix) -> Measured | None:
        if arm.first > 4 or (arm.strides, arm.ratio, arm.first) == ("three", "0.67", 4):
            return None
        return Measured(arrays={"mse": _spread(-3 if arm.ratio == "0.67" else -9, 4, arm)})

    (found,) = counts(SCALE).findings(Planted(plant))
    assert found.verdict is Verdict.UNDECIDED, "of one subject there are four images only"
    deciding = [one for one in found.quantities if found.criterion(one) is not None]
    assert {one.quantity.n for one in deciding} == {8}
    assert "three, 0.67" not in {one.subject for one in deciding}
    (empty,) = counts(SCALE).findings(Planted(lambda arm: None))
    assert "has not run" in empty.note


def test_the_median_lies_between_the_ranks_of_the_sign_test() -> None:
    """Of 16 values the 4th and 13th hold the median with 97.9 %: 1 - 2 P(B <= 3)."""
    found = _median(np.arange(1.0, 17.0)[::-1])
    assert (found.low, found.value, found.high) == (4.0, 8.5, 13.0)


def test_places_before_and_behind() -> None:
    def plant(arm: Place) -> Measured:
        behind = "stage2" in arm.place or "stage3" in arm.place
        return Measured(
            arrays={"mse": _spread(-2.0 if behind else -14.0, 4, arm)},
            details={"count": "2", "stopped": None},
        )

    assert _verdict(places(SCALE).findings(Planted(plant)), "P10") is Verdict.HOLDS


def test_disturbances_do_as_they_say() -> None:
    layout = Layout((Part("maps", (8, 2, 2)),))
    z = torch.randn(5, 1, 32, generator=Rng(0).torch())

    def sent(how: str) -> torch.Tensor:
        return disturbed(z, layout, how, Rng(1))

    assert torch.equal(sent("channels permuted, order known"), z)
    unknown = sent("channels permuted, order unknown")
    assert not torch.equal(unknown, z)
    assert torch.equal(unknown.flatten().sort()[0], z.flatten().sort()[0])
    assert float((sent("8 bits") - z).abs().max()) <= float(z.max() - z.min()) / 510 * 1.001
    dropped = sent("a channel in four dropped").reshape(5, 8, 4)
    gone = (dropped == 0).all(2)
    assert 0 < int(gone.sum()) < 20
    assert torch.equal(dropped[~gone], z.reshape(5, 8, 4)[~gone])
    assert float((sent("0.01") - z).std() / z.std()) == pytest.approx(0.01, rel=0.2)


def test_cells_have_the_ratio_they_are_named_by() -> None:
    for (_, ratio), blocks in CELLS.items():
        side = 32
        for _, _, stride in blocks:
            side //= stride
        assert f"{blocks[-1][1] * side**2 / (3 * 32**2):.2f}" == ratio


def test_a_network_without_a_skip_is_still_solved_jointly() -> None:
    pytest.importorskip("skimage")
    x, _ = patches(1, left=False)
    net = network(FOUR[:1], share=0.0)
    assert float(per_image(jointly(net, 1, x, starts=1), x)) < 1e-8
    knowledge, seen = cut(net, 1, x)
    assert seen.z.shape == (1, 1, 16 * 32 * 32)
    assert knowledge.layout is seen.layout
