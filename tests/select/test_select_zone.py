"""The zone's three rules on records written by hand, and controls on features that are known."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from splitveil.errors import BadPlan
from splitveil.estimators import ClassGeometry, ClassMoments
from splitveil.measures.geometry import class_geometry
from splitveil.measures.radius import radius
from splitveil.quantities import Kind, Quantity
from splitveil.records import Environment, Outcome, Status, Task, Trial
from splitveil.rng import Rng
from splitveil.select.reading import Records
from splitveil.select.zone import COINCIDES, Zone, find_zone, paper_raw_marks, read_evidence

HERE = Environment(
    splitveil="0", python="3", torch="2", platform="p", processor="q", threads=1, device="cpu"
)
FLOOR = 0.1


def _number(value: float, unit: str = "share") -> Quantity:
    return Quantity(value=value, low=value, high=value, unit=unit, kind=Kind.MEASURED, n=100)


def _outcome(
    task: Task, cut: str, method: str, *, release: str = "Identity()", **content: Any
) -> Outcome:
    trial = Trial(scope="s", task=task, cut=cut, release=release, method=method, seed=0)
    return Outcome(trial=trial, status=Status.DONE, environment=HERE, seconds=1.0, **content)


def _attack(cut: str, method: str, error: float, release: str = "Identity()") -> Outcome:
    errors = {"mse": _number(error), "validation_mse": _number(error)}
    return _outcome(Task.ATTACK, cut, method, release=release, quantities=errors)


def _cost(index: int, kind: str, features: int) -> dict[str, Any]:
    part = {"shape": [features], "multiplicity": 1}
    cut = {"id": f"c{index}", "name": f"cut{index}", "kind": kind, "layout": {"parts": [part]}}
    return {"cut": cut, "edge_parameters": 10 * (index + 1), "edge_flops": 100 * (index + 1)}


def _records(
    nc1: list[float],
    *,
    centres: list[float] | None = None,
    etas: list[float | None] | None = None,
    features: list[int] | None = None,
    kinds: list[str] | None = None,
    noise: float = 0.01,
    probe: list[float] | None = None,
    accuracy: float | None = 0.9,
    classes: str = "labels",
    always: str | None = None,
) -> Records:
    n = len(nc1)
    generator = Rng(0, ("zone",)).numpy()
    cuts, replicates = {}, {}
    for index, value in enumerate(nc1):
        quantities = {"nc1": _number(value, "")}
        quantities["leak(0.1)"] = _number(1000.0 / (index + 1), "nat")
        if centres is not None:
            quantities["centre_accuracy"] = _number(centres[index])
        cuts[f"c{index}"] = {name: q.to_json() for name, q in quantities.items()}
        wobble = value * (1 + noise * generator.standard_normal(16))
        replicates[f"c{index}"] = {"nc1": wobble.tolist()}
    details = {"cuts": cuts, "replicates": replicates, "classes": classes}
    details["paper_raw"] = {"radii": {f"c{i}": v for i, v in enumerate(probe or nc1)}}
    outcomes = [_outcome(Task.MOMENTS, "*", "moments()", details=details)]
    outcomes.append(_attack("*", "ClassMean()", FLOOR))
    if accuracy is not None:
        scores = {"accuracy": _number(accuracy)}
        outcomes.append(_outcome(Task.UTILITY, "*", "accuracy()", quantities=scores))
    for index, eta in enumerate(etas or []):
        if eta is not None:
            sent = always or "Identity()"
            outcomes.append(_attack(f"c{index}", "Ridge()", FLOOR * eta, sent))
            outcomes.append(_attack(f"c{index}", "Decoder()", FLOOR * eta * 0.9, sent))
    kinds = kinds or ["activation"] * n
    widths = features or [1000] * n
    manifest = {
        "model": {"channels": 3, "size": [8, 8]},
        "cuts": [_cost(i, kinds[i], widths[i]) for i in range(n)],
        "plan": {"always_release": always},
    }
    return Records(path=Path(), manifest=manifest, summary={}, outcomes=tuple(outcomes))


PLAIN: dict[str, Any] = {
    "nc1": [10.0, 9.0, 4.0, 1.0, 0.5],
    "centres": [0.4, 0.5, 0.7, 0.85, 0.9],
    "etas": [0.05, 0.2, 0.4, 0.6, 0.9],
}


def test_the_first_cut_that_meets_all_three_conditions() -> None:
    """Accuracy 0.9 asks for a centre accuracy of 0.81: cut 3 is the first, though cut 2 falls."""
    zone = find_zone(_records(**PLAIN))
    assert (zone.start, zone.end) == ("c3", "c4")
    falls = [e.falls for e in zone.evidence]
    assert falls == [None, False, True, True, True]
    assert zone.evidence[3].eta == pytest.approx(0.6)
    assert zone.evidence[3].attack == pytest.approx(0.54)
    assert zone.evidence[1].leak_drop == {"0.1": pytest.approx(500 / (192 * math.log(2)))}
    assert zone.jump == "c1"
    assert zone.post_hoc == "c1"  # 3 channels: 3 x 0.0045 < 0.02 <= 3 x 0.018


@pytest.mark.parametrize(
    ("change", "lacks"),
    [
        ({"centres": [0.4, 0.5, 0.6, 0.7, 0.8]}, "conditions"),
        ({"etas": [0.1, 0.2, 0.3, 0.4, 0.49]}, "conditions"),
        ({"nc1": [10.0, 9.0, 8.0, 7.0, 6.5]}, "conditions"),
        ({"noise": 1.0}, "conditions"),
        ({"centres": None}, "lack a nearest-centre accuracy"),
        ({"etas": [None] * 5}, "lack an error of Ridge"),
        ({"accuracy": None}, "accuracy is not known"),
    ],
)
def test_no_zone_is_an_answer(change: dict[str, Any], lacks: str) -> None:
    zone = find_zone(_records(**{**PLAIN, **change}))
    assert zone.start is None
    assert zone.end is None
    assert any(lacks in sentence for sentence in zone.sentences)
    assert any(sentence.startswith("no zone") for sentence in zone.sentences)


def test_behind_a_release_errors_are_of_what_is_sent_and_noise_makes_no_zone() -> None:
    noise = "GaussianNoise(sigma=0.5)"
    zone = find_zone(_records(**PLAIN, always=noise))
    assert zone.start is None
    # Ridge fails at cuts 3 and 4, perhaps for the noise; where it reads through it, no zone starts
    assert zone.undecided == ("c3", "c4")
    assert [e.unreadable for e in zone.evidence] == [False, False, False, None, None]
    assert zone.evidence[3].eta == pytest.approx(0.6)
    assert (zone.jump, zone.post_hoc) == ("c1", "c1")
    assert any(noise in sentence for sentence in zone.sentences)
    assert not any("lack an error of Ridge" in sentence for sentence in zone.sentences)
    assert "no zone: no cut is known to meet" in zone.sentences[-1]
    # attacks on what is never sent say nothing of such a run
    other = _records(**PLAIN, always=noise)
    manifest = {**other.manifest, "plan": {"always_release": "Uniform(bits=2)"}}
    bare = find_zone(replace(other, manifest=manifest))
    assert [e.attack for e in bare.evidence] == [None] * 5


def test_only_tensors_of_one_kind_are_compared() -> None:
    """Convolutions between activations have another scale; each kind is a walk of its own."""
    mixed = ["convolution", "activation", "convolution", "activation", "pool"]
    zone = find_zone(_records(**PLAIN, kinds=mixed))
    assert [e.before for e in zone.evidence] == [None, None, "c0", "c1", None]
    assert zone.evidence[4].falls is None
    assert zone.start == "c3"
    assert zone.evidence[3].fall is not None
    assert zone.evidence[3].fall.log == pytest.approx(math.log(9.0))


def test_says_when_dimension_alone_would_have_found_it() -> None:
    same = find_zone(_records(**PLAIN, features=[1000, 900, 800, 200, 150]))
    assert same.shrinks_most == same.start == "c3"
    assert COINCIDES in same.sentences
    other = find_zone(_records(**PLAIN, features=[1000, 200, 180, 170, 150]))
    assert (other.start, other.shrinks_most) == ("c3", "c1")
    assert COINCIDES not in other.sentences


def test_the_device_ends_the_zone() -> None:
    records = _records(**PLAIN)
    assert find_zone(records, most_parameters=40).end == "c3"
    assert find_zone(records, most_flops=400).end == "c3"
    short = find_zone(records, most_parameters=30)
    assert (short.start, short.end) == (None, None)
    assert any("beyond what the device can run" in s for s in short.sentences)
    assert find_zone(records, most_flops=1).start is None


def test_clusters_are_named() -> None:
    zone = find_zone(_records(**PLAIN, classes="clusters", accuracy=None))
    assert any("clusters" in sentence for sentence in zone.sentences)
    assert zone.start == "c4"  # a centre accuracy of 0.9 is asked for


def test_a_run_without_moments_is_refused() -> None:
    records = _records(**PLAIN)
    bare = Records(path=Path(), manifest=records.manifest, summary={}, outcomes=())
    with pytest.raises(BadPlan, match="no moments"):
        read_evidence(bare)


def test_paper_rule_on_the_pilot() -> None:
    """Raw radii of the specification's pilot at its four pools, fc1 and logits: the fourth pool."""
    assert paper_raw_marks([1265, 564, 207, 66.1, 71.7, 39.0]) == (3,)


@pytest.mark.parametrize(
    ("radii", "marks"),
    [
        ([100, 50, 49, 48, 10], (4,)),  # drops .5 .02 .02 .79: calm between, the largest alone
        ([100, 50, 35, 34, 10], (4, 1)),  # a drop of .3 between
        ([100, 10], (1,)),
        ([10, 100, 90], (2,)),  # rises count as negative drops
    ],
)
def test_paper_rule_by_hand(radii: list[int], marks: tuple[int, ...]) -> None:
    assert paper_raw_marks(radii) == marks


def test_paper_rule_always_answers_and_follows_scale() -> None:
    """Counter-examples: no transition at all, and one cut merely rescaled by 1/10."""
    assert paper_raw_marks([10.0, 9.9, 9.8, 9.7]) != ()
    assert paper_raw_marks([10.0, 9.9, 9.8 / 100, 9.7 / 100]) == (2,)
    with pytest.raises(BadPlan, match="two or more positive"):
        paper_raw_marks([1.0])


def _layered(
    scales: list[float], *, permuted: bool, n: int = 1200, f: int = 64, classes: int = 4
) -> tuple[Records, list[dict[str, float]]]:
    """Known features: class centres plus within-class noise that shrinks from cut to cut."""
    generator = Rng(3, ("layered",)).torch()
    y = torch.randint(0, classes, (n,), generator=generator)
    centres = torch.randn(classes, f, generator=generator)[y]
    own = torch.randn(n, f, generator=generator)
    seen = y[torch.randperm(n, generator=generator)] if permuted else y
    cuts, replicates, values = {}, {}, []
    for index, scale in enumerate(scales):
        z = centres + scale * own
        moments, geometry = ClassMoments(classes, f), ClassGeometry(classes, f)
        moments.update(z, seen, torch.arange(n))
        geometry.update(z, seen, torch.arange(n))
        result = moments.result()
        found = radius(result) | class_geometry(geometry.result())
        cuts[f"c{index}"] = {name: q.to_json() for name, q in found.items()}
        replicates[f"c{index}"] = {"nc1": list(result.replicates["nc1"])}
        values.append(result.values)
    records = _records([1.0] * len(scales), etas=[0.6] * len(scales), accuracy=0.9)
    details = {**records.outcomes[0].details, "cuts": cuts, "replicates": replicates}
    moments_outcome = _outcome(Task.MOMENTS, "*", "moments()", details=details)
    whole = Records(
        path=Path(),
        manifest=records.manifest,
        summary={},
        outcomes=(moments_outcome, *records.outcomes[1:]),
    )
    return whole, values


def test_collapsing_classes_have_a_zone_and_permuted_labels_none() -> None:
    """Control: random labels leave S_B / S_T near (K - 1) / (N - 1) at every cut, and no zone."""
    scales = [8.0, 7.5, 2.0, 0.5]
    right, _ = _layered(scales, permuted=False)
    wrong, values = _layered(scales, permuted=True)
    assert find_zone(right).start == "c2"
    zone: Zone = find_zone(wrong)
    assert zone.start is None
    expected = 3 / 1199
    for found in values:
        # S_B / S_T of K - 1 = 3 effective directions: within 4 standard deviations at least
        assert abs(found["between"] / found["total"] - expected) < 4 * expected * math.sqrt(2 / 3)


def test_rescaling_a_cut_moves_no_zone() -> None:
    """nc1, rho and the paired fall are free of scale; the raw radius of one cut is not."""
    generator = Rng(5, ("scale",)).torch()
    y = torch.randint(0, 3, (500,), generator=generator)
    z = torch.randn(3, 20, generator=generator)[y] + torch.randn(500, 20, generator=generator)
    one, seven = ClassMoments(3, 20), ClassMoments(3, 20)
    one.update(z, y, torch.arange(500))
    seven.update(7 * z, y, torch.arange(500))
    fall = one.result().log_ratio("nc1", seven.result())
    assert fall is not None
    assert fall.log == pytest.approx(0, abs=1e-6)
    raw = one.result().log_ratio("radius", seven.result())
    assert raw is not None
    assert raw.log == pytest.approx(-math.log(49), rel=1e-6)


def test_zone_reads_records_without_torch() -> None:
    code = "import sys, splitveil.select.zone; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
