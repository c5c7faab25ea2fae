"""The report's section on the golden partition zone: what each rule says, and the evidence."""

import math
from dataclasses import dataclass

from splitveil.errors import BadPlan
from splitveil.report.numbers import number
from splitveil.report.reading import Report
from splitveil.report.story import Fact
from splitveil.report.tables import EMPTY, Cell, Column, Table, shown_quantity
from splitveil.select.reading import read_records
from splitveil.select.zone import CutEvidence, Zone, find_zone

_COLUMNS = (
    Column(name="cut", numeric=False),
    Column(name="compared with", unit="last of its kind", numeric=False),
    Column(name="fall of NC1", unit="share", kind="proxy"),
    Column(name="z", unit="standard errors"),
    Column(name="nearest centre", unit="accuracy", kind="measured"),
    Column(name="linear error", unit="of class mean", kind="measured"),
    Column(name="values", unit="before / here"),
    Column(name="meets", numeric=False),
)


@dataclass(frozen=True)
class ZoneSection:
    """A sentence that answers, what each rule says, remarks, and the evidence cut by cut."""

    answer: str
    rules: tuple[Fact, ...]
    remarks: tuple[str, ...]
    table: Table


def zone_section(report: Report) -> ZoneSection | None:
    """The section, or None where the run holds no moments yet."""
    try:
        zone = find_zone(read_records(report.run))
    except BadPlan:
        return None
    if zone.start is None:
        answer = "No zone: no cut meets all three conditions."
    elif zone.start == zone.end:
        answer = f"The zone is the cut {report.cut_name(zone.start)}."
    else:
        end = "the last cut" if zone.end is None else report.cut_name(zone.end)
        answer = f"The zone runs from {report.cut_name(zone.start)} to {end}."
    rows = tuple(_row(report, one) for one in zone.evidence)
    table = Table(
        name="zone",
        caption="What the robust rule looks at; only cuts of one kind are compared.",
        columns=_COLUMNS,
        rows=rows,
    )
    return ZoneSection(answer, _rules(report, zone), zone.sentences, table)


def _rules(report: Report, zone: Zone) -> tuple[Fact, ...]:
    def named(*cuts: str | None) -> str:
        known = [report.cut_name(cut) for cut in cuts if cut is not None]
        return ", ".join(known) or "none"

    return (
        Fact(
            name="Robust rule",
            value=named(zone.start),
            meaning="NC1 falls by a fifth or more beyond doubt, class centres tell the classes "
            "apart, and a linear decoder does at best half as well as it might",
        ),
        Fact(
            name="The paper's rule",
            value=named(*zone.paper_raw),
            meaning="largest drops of R²c in one batch; it always answers",
        ),
        Fact(
            name="Jump of the attack's error",
            value=named(zone.jump),
            meaning="where the best attack's error grows most from one cut to the next",
        ),
        Fact(
            name="The paper's threshold",
            value=named(zone.post_hoc),
            meaning="first cut whose error, summed over channels, reaches 0.02",
        ),
        Fact(
            name="Number of values alone",
            value=named(zone.shrinks_most),
            meaning="where the features shrink most: what down-sampling alone would say",
        ),
    )


def _row(report: Report, one: CutEvidence) -> tuple[Cell, ...]:
    fall = one.fall
    drop = None if fall is None else 1 - math.exp(-fall.log)
    met = (one.falls, one.unreadable)
    return (
        Cell(text=one.name, small=one.kind),
        Cell(text=report.cut_name(one.before)) if one.before else EMPTY,
        _plain(drop),
        _plain(None if fall is None else fall.z),
        shown_quantity(one.centre_accuracy),
        _plain(one.eta),
        _plain(one.shrink),
        Cell(text=" and ".join(w for w, m in zip(("fall", "error"), met, strict=True) if m) or "–"),  # noqa: RUF001
    )


def _plain(value: float | None) -> Cell:
    if value is None or math.isnan(value):
        return EMPTY
    return Cell(text=number(value), key=repr(float(value)))
