"""What a cut costs and how its features spread: against leakage, and against depth."""

import math
from collections.abc import Callable

from splitveil.report.chart import Axis, Chart, Marker, Role, Series
from splitveil.report.marks import DEPTH, categories, point
from splitveil.report.numbers import full, number, scaled
from splitveil.report.reading import IDENTITY, CutRow, Finding, Report

_SPREAD: tuple[tuple[str, str, str, Role, Marker], ...] = (
    ("radius", "Intra-class radius R²c", "log", Role.FIRST, "square"),
    ("nc1", "Class collapse NC1", "log", Role.SECOND, "triangle"),
    ("rho", "Within-class share \N{GREEK SMALL LETTER RHO}", "linear", Role.THIRD, "circle"),
)


def spread_charts(report: Report) -> tuple[Chart, ...]:
    """R_c^2 and its scale-free twins against depth, one small figure each, labelled proxies."""
    found = (_spread_chart(report, *spec) for spec in _SPREAD)
    return tuple(chart for chart in found if chart is not None)


def _spread_chart(
    report: Report, key: str, title: str, scale: str, role: Role, marker: Marker
) -> Chart | None:
    points, lost = [], 0
    for index, cut in enumerate(report.cuts):
        quantity = cut.spread.get(key)
        if quantity is None:
            continue
        if not math.isfinite(quantity.value) or (scale == "log" and quantity.value <= 0):
            lost += 1
            continue
        points.append(point(index, quantity, f"{cut.name}: {full(quantity)}"))
    if not points:
        return None
    first, last = points[0], points[-1]
    unit = next(q.unit for c in report.cuts if (q := c.spread.get(key)) is not None)
    note = (f"{lost} values that are zero or infinite have no place on this axis.",) if lost else ()
    return Chart(
        name=key,
        title=f"{title} (proxy)",
        description=(
            f"{title} at {len(points)} cuts, from {number(first.y)} at the first to "
            f"{number(last.y)} at the last."
        ),
        x=Axis(label=DEPTH, scale="category", categories=categories(report)),
        y=Axis(label=unit or "no unit", scale="log")
        if scale == "log"
        else Axis(label=unit or "no unit", low=0.0),
        series=(Series(name=title, role=role, points=tuple(points), marker=marker),),
        notes=note,
    )


def cost_charts(report: Report) -> tuple[Chart, ...]:
    """Leakage against what crosses the wire and against the work left to the device."""
    payload = _cost_chart(
        report,
        "payload",
        "What crosses the wire",
        "bytes an image, fp32, log scale →",
        lambda cut: cut.bytes["fp32"],
        "B",
    )
    work = _cost_chart(
        report,
        "edge",
        "What the device computes",
        "operations an image (FLOP), log scale →",
        lambda cut: cut.edge_flops,
        "FLOP",
    )
    return tuple(chart for chart in (payload, work) if chart is not None)


def _cost_chart(
    report: Report, name: str, title: str, label: str, cost: Callable[[CutRow], int], unit: str
) -> Chart | None:
    plain = report.reach()
    noisy = [
        (cut, f)
        for f in report.findings
        if f.release != report.sent and (cut := report.cut(f.cut)) is not None
    ]
    sent = "features as they are" if report.sent == IDENTITY else report.sent
    kinds: tuple[tuple[Role, Marker, str, list[tuple[CutRow, Finding]]], ...] = (
        (Role.BEST, "circle", sent, plain),
        (Role.NOISE, "diamond", "noisy release", noisy),
    )
    series = []
    for role, marker, legend, found in kinds:
        points = [
            point(
                cost(cut),
                f.leakage,
                f"{cut.name}, {f.release}: {scaled(cost(cut), unit)}, {full(f.leakage)}",
                cut.name,
            )
            for cut, f in found
            if f.leakage is not None and cost(cut) > 0
        ]
        if points:
            points.sort(key=lambda p: (p.y, p.x))
            series.append(
                Series(name=legend, role=role, points=tuple(points), marker=marker, line=False)
            )
    if not series:
        return None
    return Chart(
        name=name,
        title=title,
        description=f"{title} against leakage, {sum(len(s.points) for s in series)} points; "
        "the table of cuts holds every number.",
        x=Axis(label=label, scale="log", prefixes=True),
        y=Axis(label=f"leakage L, {report.reached_by}", low=0.0, high=1.0),
        series=tuple(series),
    )
