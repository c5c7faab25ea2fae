"""Verdicts follow from intervals, survive JSON, and cannot be set by hand."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitveil.errors import BadInput
from splitveil.quantities import Kind, Quantity
from splitveil.reproduce import Claim, Criterion, Finding, Reading, Verdict
from splitveil.reproduce.claims import decide


def between(low: float | int, high: float | int) -> Quantity:
    middle = (low + high) / 2
    return Quantity(
        value=middle, low=float(low), high=float(high), unit="", kind=Kind.MEASURED, n=10
    )


def read(name: str, low: float | int, high: float | int, subject: str = "") -> Reading:
    return Reading(measured=name, subject=subject, quantity=between(low, high))


RATIO = Criterion(measured="ratio", low=4, subjects=("a", "b"))
CLAIM = Claim(
    id="toy.C1",
    statement="It grows.",
    criteria=(RATIO, Criterion(measured="share", low=0.2, high=0.4)),
    source="nowhere",
)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (4.0, 9.0, Verdict.HOLDS),
        (3.9, 9.0, Verdict.UNDECIDED),
        (1.0, 3.9, Verdict.FAILS),
        (1.0, 4.0, Verdict.UNDECIDED),
        (5.0, math.inf, Verdict.HOLDS),
    ],
)
def test_one_number_is_judged_by_its_whole_interval(
    low: float, high: float, verdict: Verdict
) -> None:
    value = low if math.isinf(high) else (low + high) / 2
    found = Quantity(value=value, low=low, high=high, unit="", kind=Kind.MEASURED, n=3)
    assert RATIO.of(found) is verdict


GOOD = [read("ratio", 5, 6, "a"), read("ratio", 7, 8, "b"), read("share", 0.25, 0.35)]


@pytest.mark.parametrize(
    ("readings", "verdict"),
    [
        (GOOD, Verdict.HOLDS),
        ([*GOOD, read("something else", -9, -8)], Verdict.HOLDS),
        (GOOD[:2], Verdict.UNDECIDED),
        (GOOD[1:], Verdict.UNDECIDED),
        ([read("ratio", 3, 5, "a"), *GOOD[1:]], Verdict.UNDECIDED),
        ([read("ratio", 3, 3.5, "a"), *GOOD[1:]], Verdict.FAILS),
        ([read("ratio", 3, 3.5, "a")], Verdict.FAILS),
        ([*GOOD[:2], read("share", 0.5, 0.6)], Verdict.FAILS),
        ([], Verdict.UNDECIDED),
    ],
)
def test_a_claim_needs_all_its_numbers_on_all_subjects(
    readings: list[Reading], verdict: Verdict
) -> None:
    assert decide(CLAIM, readings) is verdict
    assert Finding(claim=CLAIM, quantities=tuple(readings)).verdict is verdict


ends = st.tuples(st.floats(-10, 10), st.floats(-10, 10)).map(sorted)


@settings(deadline=None, derandomize=True)
@given(ends, st.floats(-10, 10))
def test_a_verdict_holds_for_every_truth_in_the_interval(
    interval: list[float], threshold: float
) -> None:
    low, high = interval
    found = Criterion(measured="x", low=threshold).of(between(low, high))
    assert (found is Verdict.HOLDS) == all(x >= threshold for x in (low, high))
    assert (found is Verdict.FAILS) == all(x < threshold for x in (low, high))


def test_findings_survive_json() -> None:
    found = Finding(claim=CLAIM, quantities=tuple(GOOD), seeds=3, note="three seeds")
    text = json.dumps(found.to_json(), allow_nan=False)
    assert Finding.from_json(json.loads(text)) == found
    assert json.loads(text)["verdict"] == "holds"


def test_a_verdict_that_was_written_by_hand_is_refused() -> None:
    data = Finding(claim=CLAIM, quantities=tuple(GOOD[:2])).to_json()
    data["verdict"] = "holds"
    with pytest.raises(BadInput, match="was altered"):
        Finding.from_json(data)


def test_nonsense_is_refused() -> None:
    for low, high in ((-math.inf, math.inf), (2.0, 1.0)):
        with pytest.raises(BadInput, match="range"):
            Criterion(measured="x", low=low, high=high)
    with pytest.raises(BadInput, match="each of another number"):
        Claim(id="x", statement="", criteria=(RATIO, RATIO), source="")
    with pytest.raises(BadInput, match="not a finding"):
        Finding.from_json({"claim": {}})


def test_ranges_read_as_they_are_meant() -> None:
    assert str(RATIO) == "ratio >= 4 (a, b)"
    assert Criterion(measured="r", high=-0.8).range == "<= -0.8"
    assert CLAIM.criteria[1].range == "in [0.2, 0.4]"


def test_what_was_not_run_says_so() -> None:
    assert not Finding(claim=CLAIM, quantities=(read("beside", 1, 2),)).was_run
    assert Finding(claim=CLAIM, quantities=(GOOD[0],)).was_run
    assert Finding(claim=CLAIM, seeds=3, note="there is no zone to compare").was_run
