from dataclasses import replace
from typing import Any

from audit_toys import HERE

from splitveil.audit.grid import spaced, spread
from splitveil.audit.joint import alarms
from splitveil.audit.schedule import NO_TIME, Left
from splitveil.audit.verdict import findings, headline, summarise
from splitveil.partition.layout import Layout
from splitveil.partition.types import Cut, CutKind
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.records import Outcome, Status, Task, Trial

ORDER = {"a": 0, "b": 1, "c": 2}
NAMES = {"a": "conv1", "b": "pool2", "c": "fc"}
MANIFEST: dict[str, Any] = {
    "cuts": [{"cut": {"id": key, "name": name, "depth": 0.5}} for key, name in NAMES.items()],
    "threat": {"knows_label": True, "knows_defence": True},
    "data": {"auxiliary": 2000},
}


def measured(value: float, width: float = 0.0) -> Quantity:
    return Quantity(
        value=value, low=value - width, high=value + width, unit="", kind=Kind.MEASURED, n=9
    )


def attack(
    cut: str,
    method: str,
    *,
    validation: float,
    leak: float,
    width: float = 0.01,
    release: str = "Identity()",
    mse: float = 0.02,
    floor: str = "class mean",
) -> Outcome:
    return Outcome(
        trial=Trial(scope="s", task=Task.ATTACK, cut=cut, release=release, method=method, seed=0),
        status=Status.DONE,
        environment=HERE,
        seconds=1.0,
        quantities={
            "validation_mse": measured(validation),
            "leakage": replace(
                measured(leak, width), assumptions=(f"measured against the {floor}",)
            ),
            "mse": measured(mse, mse / 10),
        },
    )


def bound(cut: str, release: str, value: float) -> Outcome:
    proved = Quantity(
        value=value,
        low=value,
        high=1.0,
        unit="mse per value",
        kind=Kind.CONFIDENCE,
        n=9,
        direction=Direction.LOWER,
    )
    trial = Trial(scope="s", task=Task.BOUND, cut=cut, release=release, method="g()", seed=0)
    return Outcome(
        trial=trial,
        status=Status.DONE,
        environment=HERE,
        seconds=1.0,
        quantities={"mse_bound": proved},
    )


def test_the_test_score_has_no_part_in_the_choice() -> None:
    tried = [
        attack("a", "A()", validation=0.2, leak=0.9),
        attack("a", "B()", validation=0.1, leak=0.3),
        attack("*", "ClassMean()", validation=0.5, leak=0.01),
    ]
    (found,) = findings(tried, ORDER)
    assert found.best.trial.method == "B()"
    assert found.attacks == 2
    assert found.word == "RECOVERED"


def test_an_attack_made_to_please_is_listed_and_neither_chosen_nor_counted() -> None:
    pretty = replace(
        attack("a", "AdversarialDecoder()", validation=0.001, leak=0.9),
        details={"headline": False},
    )
    plain = attack("a", "Ridge()", validation=0.01, leak=0.4)
    (found,) = findings([pretty, plain], ORDER)
    assert found.best is plain
    assert found.attacks == 1
    assert findings([pretty], ORDER) == []
    summary = summarise([pretty, plain], [], MANIFEST, complete=True)
    assert [entry["attack"] for entry in summary["leakage"]] == ["Ridge()"]
    assert "0.9" not in summary["verdict"]
    again = Outcome.from_json(pretty.to_json())
    assert not again.headline
    assert plain.headline


def test_a_floor_that_beats_every_attack_is_the_answer() -> None:
    tried = [
        attack("a", "A()", validation=0.2, leak=0.0, width=0.0),
        attack("*", "ClassMean()", validation=0.1, leak=0.0, width=0.0),
    ]
    (found,) = findings(tried, ORDER)
    assert found.best.trial.method == "ClassMean()"
    assert found.word == "NOT RECOVERED BY 1 ATTACK AT THIS EFFORT"


def test_a_cut_that_met_fewer_attacks_cannot_be_the_headline() -> None:
    tried = [
        attack("a", "A()", validation=0.1, leak=0.9),
        attack("a", "B()", validation=0.2, leak=0.8),
        attack("b", "A()", validation=0.1, leak=0.2),
        attack("c", "A()", validation=0.1, leak=0.5),
        attack("c", "B()", validation=0.2, leak=0.4),
    ]
    found = findings(tried, ORDER)
    place = headline(found)
    assert place is not None
    assert found[place].cut == "c"
    text = summarise(tried, [], MANIFEST, complete=True)["verdict"]
    assert text.startswith("RECOVERED. At cut fc an attacker with the whole model, 2,000 images")
    assert "L = 0.5 [0.49, 0.51]" in text
    assert "the most leaking one was conv1, L = 0.9 [0.89, 0.91]" in text
    assert headline([]) is None


def test_noise_is_bounded_only_where_the_bound_is_not_zero() -> None:
    noisy = attack("c", "A()", validation=0.1, leak=0.1, release="N()")
    plain = attack("c", "A()", validation=0.1, leak=0.5)
    zero, some = bound("c", "N()", 0.0), bound("c", "N()", 0.01)
    assert [f.word for f in findings([plain, noisy, zero], ORDER)] == ["RECOVERED", "RECOVERED"]
    assert [f.word for f in findings([plain, noisy, some], ORDER)] == ["RECOVERED", "BOUNDED"]


def test_an_attack_below_a_bound_raises_an_alarm_by_joint_interval() -> None:
    def raised(mse: float, comparisons: int) -> int:
        tried = [bound("c", "N()", 0.02)]
        tried += [
            attack("c", f"A{k}()", validation=0.1, leak=0.9, release="N()", mse=mse)
            for k in range(comparisons)
        ]
        return len(alarms(tried, NAMES))

    assert raised(0.0100, 1) == 1  # 0.011 at most, against 0.02
    assert raised(0.0185, 1) == 0  # 0.02035 at most
    assert raised(0.0175, 1) == 1  # 0.01925 at most
    assert raised(0.0175, 40) == 0  # but not with forty tries
    summary = summarise(
        [
            bound("c", "N()", 0.02),
            attack("c", "A()", validation=0.1, leak=0.9, release="N()", mse=0.01),
        ],
        [],
        MANIFEST,
        complete=True,
    )
    assert summary["verdict"].startswith("ALARM: A() at fc with N() reached mse")


def test_failures_carry_their_reasons() -> None:
    good = attack("a", "A()", validation=0.1, leak=0.5)
    bad = replace(
        attack("b", "A()", validation=0.1, leak=0.5),
        status=Status.FAILED,
        reason="WorkerLost: gone",
        quantities={},
    )
    summary = summarise([good, bad], [], MANIFEST, complete=True)
    assert [f["reason"] for f in summary["failures"]] == ["WorkerLost: gone"]
    assert len(summary["leakage"]) == 1


def cut(number: int, depth: float) -> Cut:
    return Cut(f"id{number}", f"cut{number}", CutKind.OTHER, depth, Layout(()))


def test_spaced_cuts_are_even_in_depth_with_both_ends() -> None:
    cuts = [cut(k, k / 10) for k in range(11)]
    assert [c.depth for c in spaced(cuts, 3)] == [0.0, 0.5, 1.0]
    assert [c.depth for c in spaced(cuts, 6)] == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert spaced(cuts, 99) == tuple(cuts)
    assert spaced(cuts, 1) == (cuts[0],)
    assert spaced(cuts, 0) == ()
    crowded = [cut(k, 0.5) for k in range(5)]
    assert len({c.id for c in spaced(crowded, 3)}) == 3


def test_cuts_are_spread_from_the_last_and_the_first_inwards() -> None:
    for count in range(1, 12):
        cuts = [cut(k, k / 10) for k in range(count)]
        order = [c.name for c in spread(cuts)]
        assert sorted(order) == sorted(c.name for c in cuts)
        assert order[0] == f"cut{count - 1}"
    assert [c.name for c in spread([cut(k, k / 10) for k in range(5)])] == [
        "cut4",
        "cut0",
        "cut2",
        "cut3",
        "cut1",
    ]
    assert spread([]) == ()


def test_the_sentence_names_the_floor() -> None:
    for floor, others in (("class mean", "others of its class"), ("mean image", "the mean image")):
        tried = [attack("a", "A()", validation=0.1, leak=0.5, floor=floor)]
        verdict = summarise(tried, [], MANIFEST, complete=True)["verdict"]
        assert f"what distinguishes an image from {others};" in verdict


def test_trials_that_found_no_time_are_said() -> None:
    tried = [attack("a", "A()", validation=0.1, leak=0.5)]
    late = [Left(trial=tried[0].trial, reason=f"{NO_TIME}: about 9 s needed")] * 2
    budget = [Left(trial=tried[0].trial, reason="budget: A() at 1 of 2 cuts")]
    assert "before 2 more trials" in summarise(tried, late, MANIFEST, complete=True)["verdict"]
    assert "Time ran out" not in summarise(tried, budget, MANIFEST, complete=True)["verdict"]
