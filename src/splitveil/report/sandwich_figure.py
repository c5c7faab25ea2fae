"""The sandwich: a theorem below, the best attack above, and what nobody knows between."""

from collections.abc import Iterator

from splitveil.report.chart import Axis, Chart, Point, Role, Rule, Series, Span
from splitveil.report.marks import DASHES, FLOOR_NAMES, merged
from splitveil.report.numbers import full
from splitveil.report.reading import Report, method_name


def sandwich_chart(report: Report) -> Chart | None:
    """Per release with a theorem below it: the bound, the best attack, and the gap between."""
    rows = [
        f
        for f in report.findings
        if f.bound is not None and f.mse is not None and report.cut(f.cut) is not None
    ]
    if not rows:
        return None
    lower, upper, spans, names = [], [], [], []
    for row, finding in enumerate(rows):
        bound, attack = finding.bound, finding.mse
        assert bound is not None and attack is not None  # noqa: PT018, S101
        name = report.cut_name(finding.cut)
        names.append(name if len({f.release for f in rows}) == 1 else f"{name} · {finding.release}")
        lower.append(
            Point(x=bound.value, y=float(row), low=bound.value, high=bound.value, text=full(bound))
        )
        upper.append(
            Point(x=attack.value, y=float(row), low=attack.low, high=attack.high, text=full(attack))
        )
        spans.append(
            Span(
                y=float(row),
                start=bound.value,
                end=attack.value,
                text="the least possible error lies here",
            )
        )
    return Chart(
        name="sandwich",
        title="Between theorem and attack: where the least possible error lies",
        description=f"{len(rows)} rows, each from a theorem's value to the best attack's error.",
        x=Axis(label="MSE per pixel, pixels in [0, 1] →", low=0.0),
        y=Axis(label="", scale="category", categories=tuple(names)),
        series=(
            Series(
                name="theorem: no attack does better",
                role=Role.BOUND,
                points=tuple(lower),
                marker="wedge",
                line=False,
                interval="x",
            ),
            Series(
                name="best attack found",
                role=Role.BEST,
                points=tuple(upper),
                marker="circle",
                line=False,
                interval="x",
            ),
        ),
        rules=merged(list(_floor_errors(report))),
        spans=tuple(spans),
        notes=(f"Release: {rows[0].release}.",) if len({f.release for f in rows}) == 1 else (),
    )


def _floor_errors(report: Report) -> Iterator[Rule]:
    seen: set[str] = set()
    for outcome in report.attacks():
        name = method_name(outcome.trial.method)
        if name in ("MeanImage", "ClassMean") and name not in seen and "mse" in outcome.quantities:
            seen.add(name)
            yield Rule(
                name=FLOOR_NAMES[name],
                axis="x",
                value=outcome.quantities["mse"].value,
                dash=DASHES[name],
            )
