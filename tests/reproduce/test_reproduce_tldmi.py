"""TL-DMI's claims: as their page sets them, judged rightly from planted arms, and arms that run."""

import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from splitveil.class_inversion import gmi, lomma, plg_mi
from splitveil.errors import BadData
from splitveil.reproduce import Evidence, Finding, Measured, Scale, Verdict, load_paper
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.draws import student_weights
from splitveil.reproduce.experiment import Arm, ArmMissing
from splitveil.reproduce.tldmi import claims as c
from splitveil.reproduce.tldmi.attacked import (
    _RECIPES,
    STEPS,
    Attacked,
    Fragile,
    Judged,
    SharedPrior,
    Weighed,
)
from splitveil.reproduce.tldmi.beyond import determination
from splitveil.reproduce.tldmi.figures import layers, people_sheet, sheet
from splitveil.reproduce.tldmi.findings import _interpolated, over
from splitveil.reproduce.tldmi.images import CLASSES, identities
from splitveil.reproduce.tldmi.networks import Body, Network
from splitveil.reproduce.tldmi.others import DEFENCES
from splitveil.reproduce.tldmi.table import drawn
from splitveil.rng import Rng
from splitveil.training import Schedule

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hypotheses-tldmi.md"
SCALE = Scale(seeds=1)
NOISE = np.random.default_rng(0).integers(0, 256, (10, 1, 32, 32), dtype=np.uint8)
"""What a PNG compresses worst."""
CHEAPEST = Attacked(defence=c.NONE, attack=c.CHEAP)
FROZEN = {c.NONE: 0.0, "freeze(2)": 0.15, "freeze(4)": 0.3, c.CHOSEN: 0.45, c.UPDATED: 0.45}
FROZEN["freeze(8)"] = 0.6
STRENGTH = {"BREP-MI": 0.3, "GMI": 0.4, "KEDMI": 0.6, "LOMMA+KEDMI": 0.85, "PLG-MI": 0.75}


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


def near(centre: float, *path: object, n: int = CLASSES) -> np.ndarray:
    return centre + 0.02 * Rng(0).child(*map(str, path)).numpy().standard_normal(n)


def claimed(arm: Any) -> Measured | None:
    """Everything as claimed."""
    if isinstance(arm, Network):
        lost = {c.SUDDEN: 0.1, c.LAST: 0.01, c.CHOSEN: 0.01}.get(arm.defence, 0.0)
        lost += {c.MID[0]: 0.05, c.MID[1]: 0.2, c.BIDO[0]: 0.05, c.BIDO[1]: 0.2}.get(arm.defence, 0)
        return Measured(arrays={"right": near(0.95 - lost, "right", n=800)})
    if isinstance(arm, Attacked):
        kept = 1 - FROZEN.get(arm.defence, 0.0)
        kept = {c.COMPOSED: 0.5, c.BIDO[0]: 0.6}.get(arm.defence, kept)
        kept = {c.POSITIVE: 1.2, c.NEGATIVE: 0.4, c.LAST: 0.9, c.MID[1]: 0.7}.get(arm.defence, kept)
        strength = STRENGTH.get(arm.attack, 0.6)
        farther = 1.3 if arm.defence == c.CHOSEN else 1.0
        own = (arm.defence, arm.attack)
        return Measured(
            arrays={
                "attack": near(0.1 + 0.9 * strength * kept, "a", *own),
                "public": near(0.1, "p"),
                "oracle": near(strength * kept, "o", *own),
                "nearest": near(farther, "n", *own),
                "identity": near(0.4 * farther, "i", *own),
                "images": NOISE,
            }
        )
    if isinstance(arm, Fragile):
        kept = 1 - FROZEN.get(arm.defence, 0.0)
        kept = {c.POSITIVE: 1.2, c.NEGATIVE: 0.4, c.LAST: 0.9}.get(arm.defence, kept)
        rows = [near(0.95, "f", n=400), near(0.93, "f", n=400)]
        return Measured(
            arrays={"standing": np.stack([*rows, near(0.7 * kept, "f", n=400), rows[0]])}
        )
    if isinstance(arm, Weighed):
        tilt = {"task": [1, 2, 6]} | {f"step {step}": [6, 2, 1] for step in STEPS}
        arrays = {"parameters": np.array([10, 10, 10])}
        for name, weights in tilt.items():
            for kind in ("plain", "scaled"):
                noise = 1 + 0.05 * near(0, name, kind, n=3 * CLASSES).reshape(CLASSES, 3)
                arrays[f"{name} {kind}"] = np.array(weights, dtype=np.float64) * noise
        return Measured(details={"layers": ["conv1", "conv2", "fc"]}, arrays=arrays)
    return Measured()


def judged(plant: Callable[[Any], Measured | None]) -> dict[str, Finding]:
    found = load_paper("tldmi").plan(SCALE).findings(Planted(plant))
    return {one.claim.id.removeprefix("tldmi."): one for one in found}


def test_claims_are_those_of_their_page_and_their_cost_is_what_it_says() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for claim in c.CLAIMS:
        row = f"| {claim.id.removeprefix('tldmi.')} | {claim.statement} |"
        assert row in text, claim.id
        (line,) = [one for one in text.splitlines() if one.startswith(row)]
        for one in claim.criteria:
            for end in (one.low, one.high):
                assert abs(end) == float("inf") or f"{end:g}" in line, (claim.id, end)
        assert claim.expected in line
    plan = load_paper("tldmi").plan(SCALE)
    assert f"{round(plan.minutes)} CPU minutes" in text
    assert plan.minutes <= 90


def test_what_is_planted_as_claimed_holds() -> None:
    found = judged(claimed)
    assert {key: one.verdict for key, one in found.items()} == dict.fromkeys(found, Verdict.HOLDS)
    assert {*found} == {f"C{k}" for k in range(1, 17)}


def test_what_is_planted_otherwise_does_not_hold() -> None:
    def useless(arm: Any) -> Measured | None:
        """Freezing does nothing, and attacks rank the other way round."""
        found = claimed(arm)
        if isinstance(arm, Attacked) and found is not None:
            strength = 1 - STRENGTH.get(arm.attack, 0.4)
            plain = 0.1 + 0.9 * strength * (1.1 if arm.defence == c.CHOSEN else 1.0)
            return Measured(arrays={**found.arrays, "attack": near(plain, arm.defence, arm.attack)})
        if isinstance(arm, Weighed) and found is not None:
            arrays = {**found.arrays}
            for step in STEPS:
                arrays[f"step {step} plain"] = arrays["task plain"]
            return Measured(details=found.details, arrays=arrays)
        return found

    found = judged(useless)
    for key in ("C1", "C4", "C5", "C6", "C8", "C9", "C10", "C13", "C14"):
        assert found[key].verdict is Verdict.FAILS, key
    assert found["C3"].verdict is not Verdict.HOLDS
    assert found["C7"].verdict is Verdict.HOLDS


def test_missing_arms_and_attacks_that_add_nothing_leave_claims_undecided() -> None:
    found = judged(lambda arm: None)
    assert all(
        one.verdict is Verdict.UNDECIDED and "has not run" in one.note for one in found.values()
    )

    def nothing(arm: Any) -> Measured | None:
        found = claimed(arm)
        if isinstance(arm, Attacked) and found is not None:
            return Measured(arrays={**found.arrays, "attack": found.arrays["public"]})
        return found

    found = judged(nothing)
    for key in ("C1", "C2", "C5", "C9", "C10"):
        assert found[key].verdict is Verdict.UNDECIDED, key
        assert "public images" in found[key].note
    lost = {one.measured for one in found["C1"].quantities}
    assert {"accuracy lost", "net accuracy, none", "net accuracy, frozen"} <= lost


def test_what_can_be_read_is_kept_where_labels_alone_add_nothing() -> None:
    def no_labels(arm: Any) -> Measured | None:
        found = claimed(arm)
        if isinstance(arm, Attacked) and arm.attack == c.LABEL and found is not None:
            return Measured(arrays={**found.arrays, "attack": found.arrays["public"]})
        return found

    found = judged(no_labels)["C10"]
    assert found.verdict is Verdict.UNDECIDED
    assert "public images" in found.note
    (strongest,) = found.quantities
    assert strongest.measured == c.ADAPTIVE.criteria[1].measured
    assert strongest.quantity.value == pytest.approx(0.55, abs=0.1)


def test_what_compares_no_like_with_like_is_undecided() -> None:
    def apart(arm: Any) -> Measured | None:
        found = claimed(arm)
        if isinstance(arm, Network) and arm.defence == c.EARLY:
            return Measured(arrays={"right": near(0.8, "right", n=800)})
        if isinstance(arm, Attacked) and arm.defence == c.NONE and found is not None:
            return Measured(arrays={**found.arrays, "attack": found.arrays["public"]})
        return found

    found = judged(apart)
    assert found["C4"].verdict is Verdict.UNDECIDED
    assert "stopped early" in found["C4"].note
    # nothing to lose: no change of it is small
    for key in ("C3", "C11", "C12", "C13", "C14"):
        assert found[key].verdict is Verdict.UNDECIDED, key
        assert "public images" in found[key].note


def test_a_rising_line_is_told_from_a_falling_one() -> None:
    x = np.array([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0], [1.0, 1.0, 1.0]])
    y = np.array([[3.0, 5.0, 6.0], [-3.0, -5.0, -6.0], [1.0, 2.0, 3.0]])
    wanted = np.corrcoef(x[0], y[0])[0, 1] ** 2
    assert determination(x, y) == pytest.approx([wanted, 0, 0])


def test_all_that_is_added_costs_at_most_five_minutes_a_seed() -> None:
    paper = load_paper("tldmi")
    known = {"C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9", "C10", "C12"}
    before = set(paper.plan(SCALE, sorted(known)).arms)
    for added, most in ((("C11", "C13"), 5), (("C14",), 3)):
        more = set(paper.plan(SCALE, (*sorted(known), *added)).arms) - before
        assert 0 < sum(arm.minutes for arm in more) <= most


def test_draws_cover_the_mean_of_other_classes_and_other_seeds() -> None:
    """Three seeds: resampling them would miss far more often than one time in twenty."""
    generator = np.random.default_rng(0)
    hits, narrow, of = 0, 0, 400
    for _ in range(of):
        seeds, classes = generator.normal(0, 0.1, (3, 1)), generator.normal(0, 0.3, CLASSES)
        first = 0.5 + seeds + classes + generator.normal(0, 0.1, (3, CLASSES))
        second = 0.4 + 0.5 * seeds + classes + generator.normal(0, 0.1, (3, CLASSES))
        draws = drawn(first, "classes") - drawn(second, "classes")
        low, high = np.quantile(draws[1:], [0.025, 0.975])
        hits += low <= 0.1 <= high
        again = (first - second)[generator.integers(0, 3, (2000, 3))].mean((1, 2))
        low, high = np.quantile(again, [0.025, 0.975])
        narrow += low <= 0.1 <= high
    assert hits / of >= 0.93
    assert narrow / of < 0.85


def test_means_of_draws_are_exact_and_seeds_move_all_numbers_together() -> None:
    table = np.arange(12, dtype=np.float64).reshape(2, 6)
    draws = drawn(table, "classes")
    assert draws[0] == 5.5
    # two seeds six apart: the standard error between them is 3, and the law's scale with it
    constant = np.repeat([[0.0], [6.0]], 6, 1)
    shifts = drawn(constant, "classes")[1:] - 3
    assert np.median(np.abs(shifts)) == pytest.approx(3, rel=0.1)
    assert drawn(2 * constant, "pictures")[1:] - 6 == pytest.approx(2 * shifts)
    # one seed: classes alone
    assert drawn(constant[:1], "classes") == pytest.approx(0)
    with pytest.raises(BadData, match="two or more"):
        student_weights(1, Rng(0))


def test_every_interval_says_which_seeds_stand_behind_it() -> None:
    for seeds, said in ((1, "holds for this one network"), (3, "3 networks")):
        plan = load_paper("tldmi").plan(Scale(seeds=seeds))
        for finding in plan.findings(Planted(claimed)):
            assert finding.quantities
            for one in finding.quantities:
                assert any(said in word for word in one.quantity.assumptions), finding.claim.id


def test_seeds_share_judges_and_the_prior_and_claims_take_their_own_arms_alone() -> None:
    paper = load_paper("tldmi")
    arms = paper.plan(Scale(seeds=3), ("C3", "C4", "C5", "C9", "C12")).arms
    assert [arms.count(one) for one in (Judged(), SharedPrior())] == [1, 1]
    attacks = [one for one in arms if isinstance(one, Attacked)]
    assert {one.attack for one in attacks} == {c.CHEAP}
    assert {one.seed for one in attacks} == {0, 1, 2}
    assert not any(isinstance(one, Weighed) for one in arms)
    one_seed = paper.plan(Scale(seeds=1), ("C3", "C4", "C5", "C9", "C12")).arms
    assert set(one_seed) < set(arms)
    kinds = {Judged, SharedPrior, Body, Network, Attacked}
    assert {type(one) for one in arms} == kinds


def test_rivals_are_compared_at_the_same_accuracy() -> None:
    def one(value: float) -> np.ndarray:
        return np.full(3, value)

    curve = [(one(0.9), one(0.8)), (one(0.7), one(0.2)), (one(0.8), one(0.6))]
    assert _interpolated(curve, one(0.85)) == pytest.approx(0.7)
    assert _interpolated(curve, one(0.75)) == pytest.approx(0.4)
    assert _interpolated(curve, one(0.99)) == pytest.approx(0.8)
    assert _interpolated(curve, one(0.1)) == pytest.approx(0.2)
    with pytest.raises(BadData, match="adds nothing"):
        over(one(0.5), one(0.0))


def test_parts_of_the_images_never_mix() -> None:
    held = identities("characters")
    assert held.training.train.y is not None
    assert held.training.train.y.bincount().tolist() == [100] * CLASSES
    parts = (held.training.train, held.training.validation, held.judges, held.held_out)
    ids = torch.cat([part.ids for part in parts])
    assert len(ids.unique()) == len(ids) == 8000
    assert held.before.train.y is not None
    assert len(held.before.train.y.unique()) == 50


def test_first_and_last_train_as_many_parameters() -> None:
    from splitveil.defences import Setting, parse_components
    from splitveil.models.reference import vgg

    network = vgg(classes=CLASSES)
    setting = Setting(source=network, classes=CLASSES, class_names=(), x=torch.zeros(1, 1, 32, 32))

    def trained(text: str) -> int:
        frozen = [one for part in parse_components(text) for one in part.prepare(setting).frozen]
        return sum(
            value.numel()
            for name, value in network.named_parameters()
            if not any(name.startswith(f"{one}.") for one in frozen)
        )

    assert trained(c.CHOSEN) / trained(c.LAST) == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_networks_come_back_as_they_were_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    from splitveil.reproduce.tldmi import networks

    monkeypatch.setattr(networks, "EPOCHS", 1)
    whole = identities("characters")
    rows = torch.arange(0, len(whole.training.train), 20)
    small = type(whole)(
        training=_fewer(whole.training, rows),
        judges=whole.judges,
        held_out=whole.held_out.take(torch.arange(0, 800, 8)),
        public=whole.public,
        before=_fewer(whole.before, rows),
        oracle=whole.oracle,
    )
    monkeypatch.setattr(networks, "identities", lambda kind: small)
    kept: dict[Arm, Measured] = {}

    def recorded(bench: Bench, arm: Arm) -> Measured:
        if arm not in kept:
            kept[arm] = arm.run(bench)
        return kept[arm]

    monkeypatch.setattr(networks, "recorded", recorded)
    body = recorded(Bench(), Body()).arrays
    for text in (c.CHOSEN, c.MID[0], c.COMPOSED):
        arm = Network(defence=text)
        network = arm.network(Bench())
        held = small.held_out
        with torch.no_grad():
            right = (network(held.x).argmax(1) == held.y).double().numpy()
        assert np.array_equal(right, kept[arm].arrays["right"])
        if text in (c.CHOSEN, c.COMPOSED):
            same = kept[arm].arrays
            for name in ("conv1.weight", "norm6.running_var", "conv6.weight"):
                assert np.array_equal(same[name], body[name]), name
            assert not np.array_equal(same["conv7.weight"], body["conv7.weight"])


def test_attacks_and_importance_are_measured_and_scored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from splitveil.class_inversion.evaluation import Judge
    from splitveil.measures import accuracy
    from splitveil.models.reference import vgg
    from splitveil.reproduce.tldmi import attacked, networks

    whole = identities("characters")
    assert whole.judges.y is not None
    few = whole.judges.take(torch.arange(0, len(whole.judges), 30))
    small = type(whole)(
        training=_fewer(whole.training, torch.arange(0, 4000, 20)),
        judges=few,
        held_out=few,
        public=whole.public[:64],
        before=whole.before,
        oracle=whole.oracle,
    )
    network = vgg(classes=CLASSES).eval()
    assert few.y is not None
    judge = Judge(name="one", network=network, accuracy=accuracy(network(few.x), few.y))
    monkeypatch.setattr(attacked, "identities", lambda kind: small)
    monkeypatch.setattr(attacked, "judging", lambda folder, kind: (judge,))
    monkeypatch.setattr(attacked, "folder_of", lambda bench: tmp_path)
    monkeypatch.setattr(attacked, "STEPS", (0, 2))
    monkeypatch.setattr(networks.Network, "network", lambda self, bench: network)
    first = vgg(classes=50).eval()
    monkeypatch.setattr(networks.Body, "network", lambda self, bench: first)
    for name, make in attacked._RECIPES.items():
        monkeypatch.setitem(attacked._RECIPES, name, partial(_made, make))
    for attack in attacked._RECIPES:
        found = Attacked(defence=c.NONE, attack=attack).run(Bench())
        for name in ("attack", "public", "oracle", "nearest", "identity"):
            assert found.arrays[name].shape == (CLASSES,), (attack, name)
            assert np.isfinite(found.arrays[name]).all()
        assert found.arrays["images"].shape == (10, 1, 32, 32)
        assert float(found.details["queries"]) > 0  # type: ignore[arg-type]
    weighed = Weighed().run(Bench())
    for name in ("task", "step 0", "step 2"):
        one = attacked.importance(weighed, name)
        assert one.layers == (*(f"conv{k}" for k in range(1, 9)), "classifier")
        assert 0 <= one.centroid(Rng(0)).value <= 1
        assert len(one.plain) == CLASSES


def _made(make: Callable[[Any], Any], constants: Any) -> Any:
    return _shorter(make(constants))


def test_the_papers_scale_is_of_the_papers_constants() -> None:
    paper = load_paper("tldmi")
    plans = {name: paper.plan(Scale(name=name, seeds=1)) for name in ("small", "paper")}
    minutes = {name: sum(arm.minutes for arm in plan.arms) for name, plan in plans.items()}
    assert minutes["paper"] > 10 * minutes["small"]
    arms = {name: set(plan.arms) for name, plan in plans.items()}
    for arm in arms["small"] ^ arms["paper"]:
        assert isinstance(arm, Attacked | SharedPrior)
        assert (arm.constants == "paper") == (arm in arms["paper"])
    # what no attack's constants change is one arm of both
    assert {type(arm).__name__ for arm in arms["small"] & arms["paper"]} >= {
        "Network",
        "PersonNetwork",
        "Judged",
        "Weighed",
    }
    shared = {arm.trial("").id for arm in arms["small"]} & {
        arm.trial("").id for arm in arms["paper"]
    }
    assert shared == {arm.trial("").id for arm in arms["small"] & arms["paper"]}
    assert _RECIPES["GMI"]("paper") == gmi("paper")
    assert _RECIPES["PLG-MI"]("paper") == plg_mi("paper")
    assert _RECIPES["LOMMA+GMI"]("paper") == lomma("paper", of=gmi("paper"), students=False)


def _shorter(recipe: Any) -> Any:
    """Few steps of everything."""
    steps = {"patience": 1} if recipe.search.level == "label" else {"steps": 2}
    if "draws" in vars(recipe.search):
        steps["draws"] = 1
    start = recipe.start
    if "restarts" in vars(start):
        start = replace(start, restarts=1)
    if "most" in vars(start):
        start = replace(start, most=512)
    students = recipe.students
    if students is not None:
        students = replace(students, families=students.families[:1], schedule=Schedule(epochs=1))
    rules = replace(recipe.prior.rules, steps=1, batch=8, critic_steps=1)
    return replace(
        recipe,
        prior=replace(recipe.prior, rules=rules),
        start=start,
        search=replace(recipe.search, **steps),
        students=students,
    )


def _fewer(training: Any, rows: torch.Tensor) -> Any:
    few = training.train.take(rows)
    return type(training)(
        name="few", train=few, validation=few, probe=few, class_names=training.class_names
    )


def test_figures_are_drawn(tmp_path: Path) -> None:
    evidence = Planted(claimed)
    layers(evidence, SCALE, tmp_path)
    sheet(evidence, SCALE, tmp_path)
    drawn = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert {*drawn} == {"tldmi-layers.svg", "tldmi-layers-invariant.svg", "tldmi-sheet.png"}
    assert drawn["tldmi-sheet.png"] < 300_000
    first = (tmp_path / "tldmi-sheet.png").read_bytes()
    sheet(evidence, SCALE, tmp_path)
    assert (tmp_path / "tldmi-sheet.png").read_bytes() == first
    # the arms of the cheap claims alone have their rows, private letters above them
    sheet(Planted(lambda arm: claimed(arm) if arm == CHEAPEST else None), SCALE, tmp_path)
    with Image.open(tmp_path / "tldmi-sheet.png") as small, Image.open(io.BytesIO(first)) as whole:
        assert (small.height, whole.height) == (2 * 66, (1 + 2 * 7) * 66)
        assert small.width == whole.width
        letters = np.asarray(small)[:66, -660:]
        assert letters.std() > 10
    people_sheet(evidence, SCALE, tmp_path)
    with Image.open(tmp_path / "tldmi-people.png") as faces:
        assert faces.height == (1 + len(DEFENCES)) * 66
        assert (tmp_path / "tldmi-people.png").stat().st_size < 300_000
        # other private pictures than the letters
        assert not np.array_equal(np.asarray(faces)[:66, -660:], letters)
    for picture in (sheet, people_sheet):
        with pytest.raises(ArmMissing):
            picture(Planted(lambda arm: None), SCALE, tmp_path)
    with pytest.raises(ArmMissing):
        layers(Planted(lambda arm: None), SCALE, tmp_path)
