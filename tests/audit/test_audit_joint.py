"""Bounds read together: levels add up, and what lies beyond a bound is an alarm."""

from dataclasses import replace

import pytest
from audit_toys import HERE

from splitveil.audit.joint import (
    alarms,
    best_bound,
    comparisons,
    error_bounds,
    joint_level,
    shown_level,
)
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.records import Outcome, Status, Task, Trial

NAMES = {"a": "conv1", "b": "pool2"}
NOISE = "N()"


def outcome(
    task: Task, quantities: dict[str, Quantity], cut: str = "a", method: str = "m()"
) -> Outcome:
    trial = Trial(scope="s", task=task, cut=cut, release=NOISE, method=method, seed=0)
    return Outcome(
        trial=trial, status=Status.DONE, environment=HERE, seconds=1.0, quantities=quantities
    )


def proved(
    value: float,
    direction: Direction = Direction.LOWER,
    *,
    unit: str = "mse per value",
    kind: Kind = Kind.CONFIDENCE,
    level: float = 0.999,
) -> Quantity:
    lower = direction is Direction.LOWER
    return Quantity(
        value=value,
        low=value if lower else 0.0,
        high=float("inf") if lower else value,
        unit=unit,
        kind=kind,
        n=9,
        direction=direction,
        level=level,
    )


def attack(mse: float, width: float = 0.001, cut: str = "a") -> Outcome:
    error = Quantity(
        value=mse, low=mse - width, high=mse + width, unit="mse", kind=Kind.MEASURED, n=9
    )
    return outcome(Task.ATTACK, {"mse": error}, cut, "Ridge()")


def test_levels_add_up_their_failures() -> None:
    assert joint_level([]) == 1
    assert joint_level([proved(0.1)] * 3) == pytest.approx(0.997)
    assert joint_level([proved(0.1, level=0.95)] * 40) == 0
    assert [shown_level(x) for x in (1.0, 0.9999, 0.998, 0.9979999)] == [
        "1",
        "0.999",
        "0.998",
        "0.997",
    ]


def test_the_best_bound_holds_with_every_error_bound_of_the_run() -> None:
    records = [
        outcome(Task.BOUND, {"mse_bound": proved(0.01), "mse_bound_success": proved(0.02)}),
        outcome(Task.BOUND, {"mse_bound": proved(0.5)}, "b"),
        outcome(Task.BOUND, {"van_trees": proved(0.9, kind=Kind.MODEL)}, method="twin()"),
        outcome(Task.BOUND, {"bought": proved(0.9)}, method="noise_needed()"),
    ]
    best = best_bound(records, "a", NOISE)
    assert best is not None
    assert (best.value, best.kind) == (0.02, Kind.CONFIDENCE)
    assert best.level == pytest.approx(0.997)
    assert "3 error bounds in this run hold together at 0.997" in best.assumptions[-1]
    assert best_bound(records, "a", "other()") is None
    exact = outcome(
        Task.BOUND,
        {
            "mse_bound": Quantity.exact(
                0.0, unit="mse per value", kind=Kind.THEOREM, direction=Direction.LOWER
            )
        },
    )
    alone = best_bound([exact], "a", NOISE)
    assert alone is not None
    assert (alone.kind, alone.level) == (Kind.THEOREM, 1.0)


@pytest.mark.parametrize("name", ["mse_bound", "mse_bound_success", "mse_bound_of_tomorrow"])
def test_a_planted_invalid_error_bound_is_caught(name: str) -> None:
    invalid = outcome(Task.BOUND, {name: proved(0.02)})
    (raised,) = alarms([invalid, attack(0.01)], NAMES)
    assert raised.startswith("Ridge() at conv1 with N() reached mse 0.01")
    assert f"below the bound 0.02 ({name}): trust neither" in raised
    assert alarms([invalid, attack(0.0195)], NAMES) == []
    assert alarms([invalid, attack(0.01, cut="b")], NAMES) == []


@pytest.mark.parametrize(
    "name", ["variational", "log_det", "leave_one_out_high", "capacity", "payload"]
)
def test_a_planted_invalid_ceiling_is_caught_by_a_certified_floor(name: str) -> None:
    nats = {"unit": "nat per image"}
    floor = {"leak_floor": proved(2.5, **nats)}  # type: ignore[arg-type]
    low = outcome(Task.BOUND, floor | {name: proved(2.0, Direction.UPPER, **nats)})  # type: ignore[arg-type]
    (raised,) = alarms([low], NAMES)
    assert f"certifies 2.5 nat an image, above the bound 2 ({name})" in raised
    fine = outcome(Task.BOUND, floor | {name: proved(2.6, Direction.UPPER, **nats)})  # type: ignore[arg-type]
    assert alarms([fine], NAMES) == []


def test_what_bounds_nothing_is_compared_with_nothing() -> None:
    loose = {
        "mse_bound": proved(0.02, kind=Kind.MODEL),
        "van_trees": proved(0.02, kind=Kind.MODEL),
        "worst_image": Quantity.exact(0.02, unit="mse per value", kind=Kind.PROXY),
        "beyond_label": proved(0.1, Direction.UPPER, unit="nat per image"),
        "leak_floor": proved(2.5, unit="nat per image"),
        "gallery_high": proved(0.2, Direction.UPPER, unit="nat per image", kind=Kind.MODEL),
    }
    found = [outcome(Task.BOUND, loose), attack(0.01)]
    assert comparisons(found, NAMES) == []
    assert error_bounds(found[0]) == {}
    failed = replace(outcome(Task.BOUND, {"mse_bound": proved(0.02)}), status=Status.FAILED)
    assert alarms([failed, attack(0.01)], NAMES) == []


def test_many_comparisons_take_a_wider_interval() -> None:
    invalid = outcome(Task.BOUND, {"mse_bound": proved(0.0215)})
    close = attack(0.0200, 0.001)  # 0.0210 at most for one comparison, 0.0216 for forty
    assert len(alarms([invalid, close], NAMES)) == 1
    others = [attack(0.03) for _ in range(39)]
    assert alarms([invalid, close, *others], NAMES) == []
