"""What the price gains against what it costs, base by base."""

from pathlib import Path

import numpy as np

from splitveil.report.chart import ATTACK_ROLES, Axis, Chart, Marker, Point, Rule, Series
from splitveil.report.html import chart_style
from splitveil.report.svg import draw
from splitveil.reproduce.cem.bases import PLACES, those_run
from splitveil.reproduce.cem.choosing import OURS, PLAIN, PUBLISHED
from splitveil.reproduce.cem.evidence import Seen, ln_ratio
from splitveil.reproduce.experiment import ArmMissing, Evidence, Scale
from splitveil.storage import write_whole

PAPER = {"paper's smallest mean gain": 1.129, "paper's largest": 1.482}
_FORMS: dict[str, tuple[str, Marker]] = {
    OURS: ("cem(rate=...)", "circle"),
    PUBLISHED: ("cem-published(...)", "square"),
}


def figures(evidence: Evidence, scale: Scale, folder: Path) -> None:
    """Write cem-gains.svg of the places where the price was compared.

    Raises:
        ArmMissing: if there is none.
    """
    seen, _ = those_run(evidence, PLACES, scale)
    if not seen:
        raise ArmMissing("no base was compared")
    series = []
    for (form, (name, marker)), role in zip(_FORMS.items(), ATTACK_ROLES, strict=False):
        points = [_point(place, one, form) for place, one in seen.items() if form in one]
        if points:
            series.append(
                Series(name=name, role=role, points=tuple(points), marker=marker, line=False)
            )
    chart = Chart(
        name="cem-gains",
        title="What conditional entropy maximisation gains, and what it costs",
        description="Ratio of the better attack's error with the price to that without.",
        x=Axis(label="accuracy lost on test images, points, mean over seeds"),
        y=Axis(label="error with the price over error without"),
        series=tuple(series),
        rules=(
            Rule(name="no gain", axis="y", value=1.0, dash="4 4"),
            *(Rule(name=k, axis="y", value=v, dash="2 3") for k, v in PAPER.items()),
        ),
    )
    drawn = draw(
        chart, width=760.0, height=400.0, name=chart.name, style=chart_style(), heading=True
    )
    write_whole(folder / f"{chart.name}.svg", str(drawn).encode())


def _point(place: str, one: dict[str, Seen], form: str) -> Point:
    ratio = ln_ratio(one[form], one[PLAIN], place, form)
    value, low, high = (float(np.exp(v)) for v in (ratio.value, ratio.low, ratio.high))
    lost = 100 * float((one[PLAIN].each("accuracy") - one[form].each("accuracy")).mean())
    text = f"{place}, {form}: {value:.3f} [{low:.3f}, {high:.3f}] at {lost:.1f} points"
    return Point(x=lost, y=value, low=low, high=high, text=text, tag=place)
