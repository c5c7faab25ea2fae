"""How features contract in training: small multiples, cuts across, measures down, runs as lines."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from splitveil.errors import BadData, BadPlan
from splitveil.quantities import Quantity
from splitveil.report.chart import ATTACK_ROLES, Axis, Chart, Marker, Point, Series
from splitveil.report.html import chart_style
from splitveil.report.numbers import full, number, shortened
from splitveil.report.svg import draw, text_width

_WIDTH, _HEIGHT, _GAP, _TOP = 236.0, 120.0, 18.0, 96.0
_LAST = 24.0
_TITLE_LETTERS = 26
_MOST_RUNS, _MOST_CUTS = len(ATTACK_ROLES), 5
_MARKERS: tuple[Marker, ...] = ("circle", "square", "triangle", "diamond", "cross")
_DASHES = ("", "7 4", "2 3", "7 3 2 3", "1 4")
_AT_CUTS = (
    ("radius", "R²c"),
    ("scatter_between", "S_B"),
    ("nc1", "NC1 = S_W / S_B"),
    ("norm", "mean |z|²"),
)
_AT_OUTPUT = (
    ("p_true", "mean p of the label", "linear"),
    ("trace_hessian", "mean tr H", "linear"),
    ("entropy", "output entropy, nat", "linear"),
    ("contraction", "contraction, nat", "log"),
    ("accuracy", "accuracy, validation", "linear"),
)


@dataclass(frozen=True, kw_only=True)
class VortexTrace:
    """One hardening as it was watched: its labels' written form, its cuts, its states."""

    labels: str
    model: str
    cuts: tuple[Mapping[str, Any], ...]
    states: tuple[Mapping[str, Any], ...]
    kept: int

    def at_cut(self, cut: str, measure: str) -> list[tuple[int, Quantity]]:
        """A measure at a cut by epoch, where there is one."""
        return [
            (state["number"], Quantity.from_json(found[measure]))
            for state in self.states
            if measure in (found := state["cuts"].get(cut, {}))
        ]

    def at_output(self, measure: str) -> list[tuple[int, Quantity]]:
        """A measure of the outputs, or the validation accuracy, by epoch."""
        return [
            (state["number"], Quantity.from_json(found[measure]))
            for state in self.states
            if measure in (found := {**state["outputs"], "accuracy": state["accuracy"]})
        ]


def read_trace(path: Path) -> VortexTrace:
    """The trace that `splitveil harden --trace` wrote into a folder or file.

    Raises:
        BadData: if there is none, or it holds something else.
    """
    file = path / "trace.json" if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return VortexTrace(
            labels=str(data["labels"]),
            model=str(data["model"]["name"]),
            cuts=tuple(data["cuts"]),
            states=tuple(data["states"]),
            kept=int(data["kept"]),
        )
    except OSError as error:
        raise BadData(f"no trace in {file}: make one with `splitveil harden --trace`") from error
    except (KeyError, TypeError, ValueError) as error:
        raise BadData(f"{file} is no trace of a hardening: make it again") from error


def vortex_charts(traces: Sequence[VortexTrace]) -> tuple[tuple[Chart, ...], ...]:
    """Rows of charts: R²c, S_B, NC1 and |z|² by cut, then what the outputs do.

    R²c falls with any change of scale, so S_B, NC1 and the norm stand under it.

    Raises:
        BadPlan: if there are no traces, more than five, or they share no watched cut.
    """
    if not 0 < len(traces) <= _MOST_RUNS:
        raise BadPlan(f"a figure shows one to {_MOST_RUNS} runs, got {len(traces)}")
    shared = [
        cut
        for cut in traces[0].cuts
        if all(cut["id"] in {other["id"] for other in trace.cuts} for trace in traces)
    ]
    if not shared:
        raise BadPlan("the runs share no watched cut: harden with --trace and the same --cut")
    chosen = _spread(shared)
    rows = [
        tuple(
            _chart(
                f"{measure}-{column}",
                f"{label} at {cut['name']}",
                label,
                "log",
                [(trace, trace.at_cut(cut["id"], measure)) for trace in traces],
            )
            for column, cut in enumerate(chosen)
        )
        for measure, label in _AT_CUTS
    ]
    outputs = tuple(
        _chart(measure, label, label, scale, [(t, t.at_output(measure)) for t in traces])
        for measure, label, scale in _AT_OUTPUT
    )
    return (*rows, outputs)


def vortex_figure(traces: Sequence[VortexTrace]) -> str:
    """The figure as one SVG file, light or dark as the reader's screen is.

    Raises:
        BadPlan: as `vortex_charts`.
    """
    rows = vortex_charts(traces)
    width = max(len(row) for row in rows) * (_WIDTH + _GAP)
    panel = _HEIGHT + 84
    title = f"Features in training: {traces[0].model}"
    parts = [_text(0.0, 22.0, title, "heading"), *_legend(traces)]
    for row, charts in enumerate(rows):
        for column, chart in enumerate(charts):
            x, y = column * (_WIDTH + _GAP), _TOP + row * panel + _LAST * (row == len(rows) - 1)
            drawn = draw(chart, width=_WIDTH, height=_HEIGHT, name=chart.name)
            parts.append(Markup('<g transform="translate({:.1f},{:.1f})">').format(x, y))
            if row == 0:
                cut = chart.title.partition(" at ")[2]
                parts.append(_text(0.0, -8.0, shortened(cut, _TITLE_LETTERS), "column"))
            elif row == len(rows) - 1 and column == 0:
                parts.append(_text(0.0, -8.0, "At the outputs", "column"))
            parts += [drawn, Markup("</g>")]
    height = _TOP + len(rows) * panel + _LAST
    style = f"{chart_style()}.chart .column{{font-weight:650}}"
    described = "; ".join(chart.description for row in rows for chart in row)
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" '
            'viewBox="-8 0 {:.0f} {:.0f}" width="{:.0f}" height="{:.0f}" '
            'aria-labelledby="vortex-t vortex-d"><title id="vortex-t">{}</title>'
            '<desc id="vortex-d">{}</desc><style>{}</style>{}</svg>\n'
        ).format(
            width + 8,
            height,
            width + 8,
            height,
            title,
            described,
            Markup(style),  # noqa: S704 - our own files
            Markup().join(parts),
        )
    )


def _spread(cuts: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most five, evenly over depth, first and last among them."""
    if len(cuts) <= _MOST_CUTS:
        return cuts
    last = len(cuts) - 1
    return [cuts[round(i * last / (_MOST_CUTS - 1))] for i in range(_MOST_CUTS)]


def _chart(
    name: str,
    title: str,
    label: str,
    scale: str,
    runs: list[tuple[VortexTrace, list[tuple[int, Quantity]]]],
) -> Chart:
    series = []
    for place, (trace, found) in enumerate(runs):
        points = tuple(
            Point(
                x=float(epoch),
                y=q.value,
                low=q.low,
                high=q.high,
                text=f"{trace.labels}, epoch {epoch}: {full(q)}",
            )
            for epoch, q in found
            if math.isfinite(q.value) and (scale != "log" or q.value > 0)
        )
        if points:
            series.append(
                Series(
                    name=trace.labels,
                    role=ATTACK_ROLES[place],
                    points=points,
                    marker=_MARKERS[place],
                    dash=_DASHES[place],
                )
            )
    told = [f"{s.name} from {number(s.points[0].y)} to {number(s.points[-1].y)}" for s in series]
    return Chart(
        name=name,
        title=title,
        description=f"{title} by epoch: {', '.join(told) or 'nothing to show'}",
        x=Axis(label="epoch →", low=0.0),
        y=Axis(label=label, scale="log") if scale == "log" else Axis(label=label, low=0.0),
        series=tuple(series),
        legend=False,
    )


def _legend(traces: Sequence[VortexTrace]) -> list[Markup]:
    parts: list[Markup] = []
    x = 0.0
    for place, trace in enumerate(traces):
        name = shortened(trace.labels, 44)
        parts.append(
            Markup(
                '<g class="series {}"><line x1="{:.1f}" y1="46" x2="{:.1f}" y2="46" class="key" '
                'stroke-dasharray="{}"/></g>'
            ).format(ATTACK_ROLES[place], x, x + 30, _DASHES[place] or "none")
        )
        parts.append(_text(x + 38, 50.0, name, "legend"))
        x += 38 + text_width(name) + 20
    return parts


def _text(x: float, y: float, text: str, css: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" class="{}">{}</text>').format(x, y, css, text)
