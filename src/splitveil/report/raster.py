"""Draws a chart as PNG for slides and papers, in the light colours."""

import io
import warnings
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from splitveil.report.chart import Axis, Chart, Role, Series
from splitveil.report.labels import Box, place_tags
from splitveil.report.numbers import shortened
from splitveil.report.palette import LIGHT
from splitveil.report.scales import scale

_MARKERS = {
    "circle": "o",
    "ring": "o",
    "square": "s",
    "triangle": "^",
    "wedge": ">",
    "diamond": "D",
    "cross": "x",
    "ceiling": "_",
}
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,
    "axes.edgecolor": LIGHT["line"],
    "axes.labelcolor": LIGHT["soft"],
    "text.color": LIGHT["ink"],
    "xtick.color": LIGHT["soft"],
    "ytick.color": LIGHT["soft"],
    "axes.facecolor": LIGHT["card"],
    "figure.facecolor": LIGHT["card"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "legend.frameon": False,
}


def _dashes(pattern: str) -> str | tuple[int, tuple[float, ...]]:
    return (0, tuple(float(n) for n in pattern.split())) if pattern else "-"


def _draw_series(axes: Axes, series: Series) -> None:
    colour = LIGHT[series.role]
    points = series.points
    x, y = [p.x for p in points], [p.y for p in points]
    best = series.role is Role.BEST
    if best and series.line and len(points) > 1:
        axes.fill_between(
            x, [p.low for p in points], [p.high for p in points], color=colour, alpha=0.15, lw=0
        )
    marked = [index for index, p in enumerate(points) if p.marked]
    low, high = [points[i].low for i in marked], [points[i].high for i in marked]
    if series.interval == "y":
        axes.vlines([x[i] for i in marked], low, high, color=colour, lw=1, zorder=2)
    else:
        axes.hlines([y[i] for i in marked], low, high, color=colour, lw=1, zorder=2)
    hollow = series.marker == "ring"
    axes.plot(
        x,
        y,
        label=shortened(series.name, 62),
        color=colour,
        lw=(2.2 if best else 1.2) if series.line else 0,
        ls=_dashes(series.dash) if series.line else "none",
        marker=_MARKERS[series.marker],
        ms=12 if series.marker == "ceiling" else 5,
        markevery=marked,
        clip_on=False,
        mfc=LIGHT["card"] if hollow else colour,
        zorder=4 if best else 3,
    )


def _ticks(axes: Axes, axis: Axis, which: str, values: list[float]) -> None:
    along = axes.xaxis if which == "x" else axes.yaxis
    if axis.scale == "log":
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        axes.minorticks_off()
    laid = scale(axis, values, 0.0, 1.0, 6)
    ticks = list(laid.ticks)
    if axis.scale == "category":
        step = max(1, -(-len(ticks) // 40))
        ticks = [(v, shortened(label, 26)) for v, label in ticks[::step]]
    along.set_ticks([v for v, _ in ticks], [label for _, label in ticks])
    (axes.set_xlim if which == "x" else axes.set_ylim)(laid.low, laid.high)
    if which == "x" and axis.scale == "category":
        for text in axes.get_xticklabels():
            text.set(rotation=50, ha="right", rotation_mode="anchor")


def _tags(figure: Figure, axes: Axes, chart: Chart) -> None:
    """Names beside points, where there is room for them once the figure is laid out."""
    figure.draw_without_rendering()
    points = [p for s in chart.series for p in s.points]
    unit = 72 / figure.dpi
    # page units that grow downwards, as in an SVG
    places = [axes.transData.transform((p.x, p.y)) for p in points]
    marks = [
        (float(x) * unit, -float(y) * unit, shortened(p.tag, 26))
        for (x, y), p in zip(places, points, strict=True)
    ]
    area = axes.get_window_extent()
    left, low, right, high = (float(end) * unit for end in area.extents)
    room = Box(left, -high - 8, right + 8, -low)
    for x, y, anchor, text in place_tags(marks, room, lambda text: 4.9 * len(text)):
        axes.annotate(
            text,
            (x, -y),
            xycoords="figure points",
            ha={"start": "left", "end": "right"}.get(anchor, "center"),
            va="baseline",
            fontsize=7.5,
            color=LIGHT["soft"],
        )


def _size(chart: Chart) -> tuple[float, float]:
    if chart.y.scale == "category":
        return 8.6, 1.9 + 0.36 * len(chart.y.categories)
    return (8.6, 5.2) if len(chart.series) > 1 or chart.rules else (6.4, 4.4)


def png(chart: Chart) -> bytes:
    """The chart as a PNG file, 160 dots an inch."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure = Figure(figsize=_size(chart), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.set_title(chart.title, loc="left", fontsize=11.5, fontweight="bold", pad=12)
        for rule in chart.rules:
            line = axes.axhline if rule.axis == "y" else axes.axvline
            line(rule.value, color=LIGHT["floor"], lw=1.2, ls=_dashes(rule.dash), label=rule.name)
        for span in chart.spans:
            axes.barh(
                span.y, span.end - span.start, left=span.start, height=0.4, color=LIGHT["grid"]
            )
        for series in chart.series:
            _draw_series(axes, series)
        for which, axis in (("x", chart.x), ("y", chart.y)):
            _ticks(axes, axis, which, _extent(chart, which))
        if chart.y.scale == "category":
            axes.invert_yaxis()
        axes.set_xlabel(chart.x.label, loc="right")
        axes.set_ylabel(chart.y.label)
        axes.grid(axis="y" if chart.y.scale != "category" else "x", color=LIGHT["grid"], lw=0.8)
        axes.set_axisbelow(True)
        if len(chart.series) + len(chart.rules) > 1:
            figure.legend(loc="outside lower left", ncols=2, fontsize=8)
        _tags(figure, axes, chart)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=160)
        return file.getvalue()


def _extent(chart: Chart, which: str) -> list[float]:
    values: list[float] = []
    for series in chart.series:
        for point in series.points:
            values.append(point.x if which == "x" else point.y)
            if series.interval == which:
                values += [point.low, point.high]
    values += [rule.value for rule in chart.rules if rule.axis == which]
    if which == "x":
        values += [end for span in chart.spans for end in (span.start, span.end)]
    return values
