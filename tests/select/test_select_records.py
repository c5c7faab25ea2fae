"""From a run's records to candidates: what counts as met, what a deeper attack means, costs."""

import json
from pathlib import Path

import pytest
from select_candidates import quantity
from select_runs import CUTS, NOISE, PLAIN, accuracy, attack, write_run

from splitveil.audit.schedule import FEW
from splitveil.audit.store import Run
from splitveil.errors import BadPlan
from splitveil.select import (
    Candidate,
    Limits,
    Link,
    Question,
    read_candidates,
    read_profile,
    read_records,
    select,
)
from splitveil.select import sensitivity as sensitivity_of
from splitveil.select.met import NO_STRONG_ATTACK, attacks_met, missing_attacks
from splitveil.select.payload import payload_bytes
from splitveil.select.profile import KIND


def found(run: Run, cut: str, release: str = PLAIN, **settings: Link) -> Candidate:
    (one,) = [
        one
        for one in read_candidates(read_records(run), **settings)  # type: ignore[arg-type]
        if (one.name, one.release) == (cut, release)
    ]
    return one


def test_a_deeper_attack_counts_at_a_shallower_cut(tmp_path: Path) -> None:
    run = write_run(
        tmp_path,
        [
            attack("early", "Ridge()", 0.5),
            attack("middle", "Ridge()", 0.7),
            attack("late", "Ridge()", 0.6),
        ],
    )
    assert [one.leakage.value for one in read_candidates(read_records(run))] == [0.7, 0.7, 0.6]
    assert [one.attacked_at for one in read_candidates(read_records(run))] == [
        "id-middle",
        "id-middle",
        "id-late",
    ]


def test_attacks_compete_on_validation_images_and_are_scored_on_test_images(
    tmp_path: Path,
) -> None:
    run = write_run(
        tmp_path,
        [
            attack("late", "Ridge()", 0.6, validation=0.1),
            attack("late", "Decoder(epochs=4)", 0.7, validation=0.2),
        ],
    )
    assert found(run, "late").attack == "Ridge()"
    assert found(run, "late").leakage.value == 0.6


def test_what_other_cuts_met_is_missing_here(tmp_path: Path) -> None:
    run = write_run(
        tmp_path,
        [
            attack("*", "ClassMean()", 0.0),
            attack("early", "PatchRidge()", 0.9),
            attack("middle", "PatchRidge()", 0.8),
            attack("early", "Ridge()", 0.9),
            attack("middle", "Ridge()", 0.1),
            attack("late", "Ridge()", 0.1),
            attack("early", "Decoder(epochs=4)", 0.9, seconds=10.0),
            attack("middle", "Decoder(epochs=4)", 0.1, seconds=10.0),
            attack("early", "Decoder(epochs=12)", 0.9, seconds=30.0),
            attack("late", "Decoder(epochs=12)", 0.2, failed=True),
        ],
        not_attacked=[
            {
                "cut": "id-late",
                "release": PLAIN,
                "method": "PatchRidge()",
                "reason": "does not apply: what crosses is no map over the image",
            }
        ],
    )
    assert found(run, "early").missing == ()
    # a decoder of 4 epochs does not stand for one of 12
    assert found(run, "middle").missing == ("Decoder(epochs=12)",)
    assert found(run, "late").missing == ("Decoder(epochs=12)",)
    assert select(read_candidates(read_records(run)), Limits()).chosen == found(run, "early")
    assert attacks_met(run.outcomes(), "id-middle", PLAIN) == (
        "Decoder(epochs=4)",
        "PatchRidge()",
        "Ridge()",
    )


def test_a_release_must_meet_what_is_not_cheap(tmp_path: Path) -> None:
    run = write_run(
        tmp_path,
        [
            accuracy("*", 0.9),
            accuracy("late", 0.8, release=NOISE),
            attack("late", "NearestAuxiliary()", 0.1),
            attack("late", "Ridge()", 0.6),
            attack("late", "Decoder()", 0.6),
            attack("late", "Ridge()", 0.3, release=NOISE),
        ],
    )
    assert found(run, "late", NOISE).missing == ("Decoder()",)
    assert found(run, "late").missing == ()
    bare, noisy = found(run, "late").accuracy, found(run, "late", NOISE).accuracy
    assert bare is not None
    assert noisy is not None
    assert (bare.value, noisy.value) == (0.9, 0.8)


def test_what_a_budget_means_for_few_cuts_is_not_missing_elsewhere() -> None:
    """Unless somebody asked for it: then no reason stands in the summary."""
    outcomes = [
        attack("early", "Ridge()", 0.6),
        attack("early", "Likelihood(restarts=1)", 0.9),
        attack("late", "Ridge()", 0.5),
    ]
    reason = f"{FEW}: Likelihood() at 1 of 2 cuts, spaced by depth"
    left = {"cut": "*", "release": PLAIN, "method": "Likelihood()", "reason": reason}
    assert missing_attacks(outcomes, [left])["id-late", PLAIN] == ()
    assert missing_attacks(outcomes, [])["id-late", PLAIN] == ("Likelihood(restarts=1)",)


def test_cheap_attacks_alone_are_never_enough(tmp_path: Path) -> None:
    run = write_run(tmp_path, [attack("late", "NearestAuxiliary()", 0.1)])
    assert found(run, "late").missing == (NO_STRONG_ATTACK,)
    assert select(read_candidates(read_records(run)), Limits()).chosen is None


def test_latency_is_the_sum_of_its_parts(tmp_path: Path) -> None:
    run = write_run(tmp_path, [attack("middle", "Ridge()", 0.5)])
    latency = found(run, "middle", link=Link(bandwidth=1e6, round_trip=0.01)).latency
    assert latency is not None
    # edge 2 to 4 ms, 10 ms, 2,000 bytes at 1 Mbit/s, cloud 1 to 2 ms
    assert latency.low == pytest.approx(0.002 + 0.01 + 0.016 + 0.001)
    assert latency.high == pytest.approx(0.004 + 0.01 + 0.016 + 0.002)
    assert latency.level == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        (PLAIN, 1000),
        (NOISE, 1000),
        ("HalfPrecision()", 500),
        ("UniformQuantiser(bits=8, clip=0.99)", 250),
        ("DitheredQuantiser(bits=3, clip=0.99)", 94),
        (f"Chain(stages=({NOISE}, UniformQuantiser(bits=4, clip=1.0)))", 125),
        ("package:Mine(bits=2)", None),
        ("Mine(bits=2)", None),
    ],
)
def test_payload_of_250_values(release: str, expected: int | None) -> None:
    assert payload_bytes(release, 250) == expected


def test_payload_agrees_with_the_releases_themselves() -> None:
    from splitveil import release

    for text in ("none", "half", "gaussian(sigma=0.5)", "quantise(bits=5)", "dither(bits=4)"):
        recipe = release.parse_release(text)
        z = __import__("torch").rand(20, 33)
        fitted = recipe.fit(z)
        assert payload_bytes(repr(recipe), 33) == -(-int(fitted.bits(33)) // 8)


def test_sensitivity_names_the_choice_without_each_attack(tmp_path: Path) -> None:
    run = write_run(
        tmp_path,
        [
            attack("middle", "Ridge()", 0.2),
            attack("late", "Ridge()", 0.1),
            attack("middle", "Decoder()", 0.3),
            attack("late", "Decoder()", 0.6),
            attack("middle", "Other()", 0.0),
            attack("late", "Other()", 0.0),
        ],
    )
    # late leaks 0.6 to the decoder, and so does middle, from which late can be computed
    by_name = {
        one.attack: one
        for one in sensitivity_of(
            Question(runs=(read_records(run),), limits=Limits(max_leakage=0.5))
        )
    }
    assert select(read_candidates(read_records(run)), Limits(max_leakage=0.5)).chosen is None
    assert set(by_name) == {"Decoder", "Other", "Ridge"}
    assert by_name["Ridge"].chosen is None
    changed = by_name["Decoder"]
    assert changed.chosen is not None
    assert changed.leaks is not None
    assert (changed.chosen.name, changed.chosen.leakage.value) == ("late", 0.1)
    assert changed.leaks.leakage.value == 0.6
    assert "which would seem to leak L up to 0.1; to all attacks 0.6" in changed.sentence(None)


def profile(path: Path, **changes: object) -> Path:
    data = {
        "kind": KIND,
        "model": {"name": "net", "digest": "ab" * 32},
        "input": [1, 8, 8],
        "device": {"platform": "board"},
        "cuts": [
            {"id": f"id-{name}", "edge_seconds": quantity(0.1, 0.2, "s").to_json()} for name in CUTS
        ],
    }
    path.write_text(json.dumps({**data, **changes}))
    return path


def test_a_profile_replaces_the_edge_times(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [attack("late", "Ridge()", 0.5)])
    times = read_profile(profile(tmp_path / "device.json"))
    (one,) = read_candidates(read_records(run), link=Link(bandwidth=1e9), profile=times)
    assert one.edge_seconds == quantity(0.1, 0.2, "s")
    assert one.latency is not None
    assert one.latency.low > 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"name": "net", "digest": "ef" * 32}}, "is of model net"),
        ({"input": [3, 8, 8]}, "--channels 1"),
        ({"cuts": []}, "has no time for cut late"),
        ({"kind": "something"}, "no device profile"),
        ({"cuts": [{"id": "id-late"}]}, "no device profile"),
        ({"model": 3}, "no device profile"),
    ],
)
def test_a_profile_of_something_else_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    run = write_run(tmp_path / "run", [attack("late", "Ridge()", 0.5)])
    path = profile(tmp_path / "device.json", **changes)
    with pytest.raises(BadPlan, match=message):
        read_candidates(read_records(run), profile=read_profile(path))


def test_a_run_without_attacks_has_no_candidates(tmp_path: Path) -> None:
    with pytest.raises(BadPlan, match="no attack has ended"):
        read_candidates(read_records(write_run(tmp_path, [accuracy("*", 0.9)])))


@pytest.mark.parametrize("settings", [(0.0, 0.0), (-1.0, 0.0), (1e6, -1.0), (1e6, float("inf"))])
def test_a_link_that_makes_no_sense_is_refused(settings: tuple[float, float]) -> None:
    with pytest.raises(BadPlan, match="bandwidth"):
        Link(bandwidth=settings[0], round_trip=settings[1])
