"""Cuts against each other, each alone and with its best defence, at equal accuracy."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from splitveil.quantities import Quantity
from splitveil.report.numbers import full, number
from splitveil.report.tables import Cell, Column, Table, shown_quantity

_NONE = "–"  # noqa: RUF001 - a dash in a cell
Arm = tuple[Mapping[str, Any], Mapping[str, Any]]
"""A series, and its point at one drop."""


def head_table(data: Mapping[str, Any]) -> Table | None:
    """For each drop every cut without a defence and with its best; None where there is one cut.

    The best is the one whose best attack errs most on validation images. Beside its error stand
    bytes and operations, and who dominates it: has at least its error on test images, at most its
    bytes and operations, and one of them strictly.
    """
    plain = [one for one in data["series"] if one["kind"] == "none"]
    if len(plain) < 2:
        return None
    last = plain[-1]
    rows = [
        _row(drop, arm, last, _dominating(arm, all_arms))
        for drop in data["plan"]["drops"]
        for all_arms in (list(_at(data["series"], drop)),)
        for one in plain
        for arm in _shown(one, all_arms)
    ]
    return Table(
        name="headtohead",
        caption=f"n = {data['data']['test']} test images, 95 % intervals over images, paired. The "
        "best defence of a cut is the one whose best attack errs most on validation images.",
        columns=(
            Column(name="at a drop of", unit="points"),
            Column(name="cut and defence", numeric=False),
            Column(name="accuracy", unit="share", kind="measured"),
            Column(name="error raised", unit="times", kind="measured"),
            Column(name=f"error over {last['cut']} alone", unit="times", kind="measured"),
            Column(name="sent", unit="bytes"),
            Column(name="on the device", unit="MFLOP"),
            Column(name="dominated by", numeric=False),
        ),
        rows=tuple(rows),
    )


def _at(series: Sequence[Mapping[str, Any]], drop: float) -> Iterator[Arm]:
    """What there is at a drop: cuts without a defence, and defences that met it."""
    for one in series:
        for point in one["points"]:
            if one["kind"] == "none" or (point["drop"] == drop and point["met"]):
                yield one, point


def _shown(plain: Mapping[str, Any], arms: Sequence[Arm]) -> Iterator[Arm]:
    """A cut alone, then its best defence, if any met the drop."""
    yield next(arm for arm in arms if arm[0] is plain)
    there = [arm for arm in arms if arm[0]["cut"] == plain["cut"] and arm[0]["kind"] != "none"]
    if there:
        yield max(there, key=lambda arm: float(arm[1]["validation_mse"]["value"]))


def _dominating(arm: Arm, arms: Sequence[Arm]) -> str:
    """The name of one with no less error and no more cost; a dash if there is none."""

    def worth(point: Mapping[str, Any]) -> tuple[float, float, float]:
        return float(point["mse"]["value"]), -float(point["bytes"]), -float(point["edge_flops"])

    own = worth(arm[1])
    better = [
        (worth(point), one["name"])
        for one, point in arms
        if worth(point) != own and all(a >= b for a, b in zip(worth(point), own, strict=True))
    ]
    return max(better)[1] if better else _NONE


def _row(drop: float, arm: Arm, last: Mapping[str, Any], dominating: str) -> tuple[Cell, ...]:
    one, point = arm
    beside = point["ahead"].get(last["name"])
    name = one["name"] if one["kind"] == "none" else f"{point['defence']} at {one['cut']}"
    return (
        Cell(text=f"{drop:g}", key=repr(drop)),
        Cell(text=name),
        shown_quantity(Quantity.from_json(point["accuracy"])),
        times(Quantity.from_json(point["ratio"])),
        Cell(text="1") if beside is None else times(Quantity.from_json(beside)),
        Cell(text=str(point["bytes"]), key=str(point["bytes"])),
        Cell(text=number(point["edge_flops"] / 1e6), key=repr(point["edge_flops"])),
        Cell(text=dominating),
    )


def times(log: Quantity) -> Cell:
    """A log ratio as a factor with its interval."""
    low, high = (number(math.exp(end)) for end in (log.low, log.high))
    return Cell(
        text=number(math.exp(log.value)),
        small=f"[{low}, {high}]",
        title=full(log),
        key=repr(log.value),
    )
