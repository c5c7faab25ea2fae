"""Draws a chart as SVG whose colours come from CSS, so that it follows the reader's theme."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from splitveil.report.chart import Axis, Chart, Marker, Point, Role, Series
from splitveil.report.labels import Box, place_tags
from splitveil.report.numbers import shortened
from splitveil.report.scales import Scale, scale

TEXT = 12.0
"""Size of a figure's type, in its own units, which are CSS pixels at full width."""
_WIDTH_OF_A_LETTER = 0.56
_SLANT = math.radians(50)

_SHAPES: dict[Marker, str] = {
    "circle": "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
    "ring": "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
    "square": "M-3.6,-3.6h7.2v7.2h-7.2z",
    "triangle": "M0,-4.8L4.6,3.4H-4.6z",
    "wedge": "M-4,-4.6L4.4,0L-4,4.6z",
    "diamond": "M0,-5.2L5.2,0L0,5.2L-5.2,0z",
    "ceiling": "M-9,0H9M-6,0L-9,-5M0,0L-3,-5M6,0L3,-5",
    "cross": "M-3.6,-3.6L3.6,3.6M-3.6,3.6L3.6,-3.6",
}


def text_width(text: str, size: float = TEXT) -> float:
    """Roughly how wide a text is drawn, generously."""
    return sum(1.0 if ord(c) > 0x2E7F else _WIDTH_OF_A_LETTER for c in text) * size


@dataclass(frozen=True)
class Frame:
    """Where the plot lies inside the drawing, and its two scales."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x: Scale
    y: Scale
    label_limit: int
    label_step: int
    legend: tuple[tuple[float, float, Series | None, str, str], ...]


def _label_limit(axis: Axis, width: float) -> int:
    if axis.scale == "category":
        return int(0.34 * width / (TEXT * _WIDTH_OF_A_LETTER))
    return 26 if width > 600 else 16


def _legend_rows(
    chart: Chart, width: float
) -> tuple[tuple[tuple[float, float, Series | None, str, str], ...], float]:
    entries: list[tuple[Series | None, str, str]] = [(s, s.name, s.dash) for s in chart.series]
    entries += [(None, rule.name, rule.dash) for rule in chart.rules]
    if not chart.legend or (len(entries) < 2 and not chart.rules):
        return (), 0.0
    placed: list[tuple[float, float, Series | None, str, str]] = []
    x, y = 0.0, 10.0
    for series, name, dash in entries:
        shown = shortened(name, int((width - 40) / (TEXT * _WIDTH_OF_A_LETTER)))
        needed = 34 + text_width(shown) + 12
        if x > 0 and x + needed > width:
            x, y = 0.0, y + 20
        placed.append((x, y, series, shown, dash))
        x += needed
    return tuple(placed), y + 16


def _values(chart: Chart, which: str) -> Iterator[float]:
    for series in chart.series:
        for point in series.points:
            yield point.x if which == "x" else point.y
            if series.interval == which:
                yield from (point.low, point.high)
    yield from (rule.value for rule in chart.rules if rule.axis == which)
    if which == "x":
        for span in chart.spans:
            yield from (span.start, span.end)


def _y_margin(axis: Axis, limit: int, values: list[float]) -> float:
    if axis.scale == "category":
        return max(text_width(shortened(c, limit)) for c in axis.categories) + 14
    probe = scale(axis, values, 0.0, 1.0, 6)
    return max((text_width(label) for _, label in probe.ticks), default=20.0) + 12


def _x_labels(axis: Axis, limit: int, left: float, width: float) -> tuple[int, float, float]:
    """Every how many categories a label fits, the height labels need, and the left margin."""
    if axis.scale != "category":
        return 1, 40.0, left
    lengths = [text_width(shortened(c, limit)) for c in axis.categories] or [0.0]
    margin = left
    for _ in range(3):
        slot = (width - margin - 12) / len(lengths)
        step = max(1, math.ceil(17 / slot))
        reach = [
            length * math.cos(_SLANT) + 4 - (i + 0.5) * slot
            for i, length in enumerate(lengths)
            if i % step == 0
        ]
        margin = max(left, *reach)
    return step, max(lengths) * math.sin(_SLANT) + 46, margin


def lay_out(chart: Chart, width: float, height: float) -> Frame:
    """Margins from the labels, then scales from the margins.

    `height` is that of the plot for numeric y; categories on y take 34 units a row instead.
    """
    limit = _label_limit(chart.y, width)
    legend, top = _legend_rows(chart, width)
    top += 26 if chart.y.label else 10
    ys = list(_values(chart, "y"))
    left = _y_margin(chart.y, limit, ys)
    step, below, left = _x_labels(chart.x, limit, left, width)
    if chart.y.scale == "category":
        height = 34.0 * len(chart.y.categories) + 8
    right, bottom = width - (12 if chart.x.scale == "category" else 26), top + height
    count = max(3, min(8, int((right - left) / 90)))
    x = scale(chart.x, _values(chart, "x"), left, right, count)
    flipped = chart.y.scale == "category"
    y = scale(chart.y, ys, top if flipped else bottom, bottom if flipped else top, 6)
    return Frame(width, bottom + below, left, right, top, bottom, x, y, limit, step, legend)


def _marker(shape: Marker, x: float, y: float, size: float = 1.0) -> Markup:
    kind = "hollow" if shape in ("ring", "cross", "ceiling") else "solid"
    shrink = "" if size >= 1 else f" scale({size:.2f})"
    return Markup('<path class="mark {}" transform="translate({:.1f},{:.1f}){}" d="{}"/>').format(
        kind, x, y, shrink, _SHAPES[shape]
    )


def _label(x: float, y: float, text: str, *, anchor: str = "start", css: str = "") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" class="{}">{}</text>').format(
        x, y, anchor, css, text
    )


def _line(x1: float, y1: float, x2: float, y2: float, css: str, dash: str = "") -> Markup:
    return Markup(
        '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}" stroke-dasharray="{}"/>'
    ).format(x1, y1, x2, y2, css, dash or "none")


def _y_axis(chart: Chart, frame: Frame) -> Iterator[Markup]:
    for value, name in frame.y.ticks:
        y = frame.y.place(value)
        yield _line(frame.left, y, frame.right, y, "grid")
        shown = shortened(name, frame.label_limit)
        yield _label(frame.left - 8, y + 4, shown, anchor="end", css="tick")
    if chart.y.label:
        yield _label(0.0, frame.top - 12, chart.y.label, css="axis")


def _x_axis(chart: Chart, frame: Frame) -> Iterator[Markup]:
    yield _line(frame.left, frame.bottom, frame.right, frame.bottom, "base")
    slanted = chart.x.scale == "category"
    for index, (value, name) in enumerate(frame.x.ticks):
        x = frame.x.place(value)
        if not slanted:
            yield _line(x, frame.top, x, frame.bottom, "grid")
            yield _label(x, frame.bottom + 17, name, anchor="middle", css="tick")
        elif index % frame.label_step == 0:
            yield _line(x, frame.bottom, x, frame.bottom + 4, "base")
            yield Markup(
                '<text class="tick" text-anchor="end" '
                'transform="translate({:.1f},{:.1f}) rotate(-50)">{}</text>'
            ).format(x + 3, frame.bottom + 15, shortened(name, frame.label_limit))
    yield _label(frame.right, frame.height - 6, chart.x.label, anchor="end", css="axis")


def _inside(series: Series, frame: Frame) -> list[Point]:
    return [p for p in series.points if frame.x.holds(p.x) and frame.y.holds(p.y)]


def _clamped(value: float, axis: Scale) -> float:
    return axis.place(min(max(value, axis.low), axis.high))


def _interval(point: Point, series: Series, frame: Frame) -> Markup:
    if point.low == point.high:
        return Markup()
    x, y = frame.x.place(point.x), frame.y.place(point.y)
    if series.interval == "x":
        return _line(_clamped(point.low, frame.x), y, _clamped(point.high, frame.x), y, "whisker")
    return _line(x, _clamped(point.low, frame.y), x, _clamped(point.high, frame.y), "whisker")


def _band(points: list[Point], frame: Frame) -> Markup:
    upper = [(frame.x.place(p.x), _clamped(p.high, frame.y)) for p in points]
    lower = [(frame.x.place(p.x), _clamped(p.low, frame.y)) for p in reversed(points)]
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in (*upper, *lower))
    return Markup('<polygon class="band" points="{}"/>').format(corners)


def _crowding(series: Series, frame: Frame) -> float:
    """How much smaller marks must be where a line carries more of them than there is room for."""
    room = (frame.right - frame.left) / max(1, len(series.points))
    return min(1.0, max(0.4, room / 11)) if series.line else 1.0


def _series(series: Series, frame: Frame) -> Iterator[Markup]:
    points = _inside(series, frame)
    size = _crowding(series, frame)
    yield Markup('<g class="series {}">').format(series.role)
    if series.line and len(points) > 1:
        if series.role is Role.BEST:
            yield _band(points, frame)
        path = " ".join(f"{frame.x.place(p.x):.1f},{frame.y.place(p.y):.1f}" for p in points)
        yield Markup('<polyline points="{}" stroke-dasharray="{}"/>').format(
            path, series.dash or "none"
        )
    for point in (p for p in points if p.marked):
        x, y = frame.x.place(point.x), frame.y.place(point.y)
        yield Markup('<g class="point"><title>{}</title>{}{}</g>').format(
            point.text, _interval(point, series, frame), _marker(series.marker, x, y, size)
        )
    yield Markup("</g>")


def _rules(chart: Chart, frame: Frame) -> Iterator[Markup]:
    for rule in chart.rules:
        if rule.axis == "y" and frame.y.holds(rule.value):
            y = frame.y.place(rule.value)
            yield _line(frame.left, y, frame.right, y, "rule", rule.dash)
        if rule.axis == "x" and frame.x.holds(rule.value):
            x = frame.x.place(rule.value)
            yield _line(x, frame.top, x, frame.bottom, "rule", rule.dash)


def _spans(chart: Chart, frame: Frame) -> Iterator[Markup]:
    for span in chart.spans:
        start, end = _clamped(span.start, frame.x), _clamped(span.end, frame.x)
        yield Markup(
            '<rect class="span" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="14" rx="2">'
            "<title>{}</title></rect>"
        ).format(min(start, end), frame.y.place(span.y) - 7, abs(end - start), span.text)


def _tags(chart: Chart, frame: Frame) -> Iterator[Markup]:
    marks = [
        (frame.x.place(p.x), frame.y.place(p.y), p.tag)
        for s in chart.series
        for p in _inside(s, frame)
    ]
    room = Box(frame.left, frame.top - 8, frame.right + 8, frame.bottom)
    for x, y, anchor, text in place_tags(marks, room, text_width):
        yield _label(x, y, text, anchor=anchor, css="tag")


def _legend(frame: Frame) -> Iterator[Markup]:
    for x, y, series, name, dash in frame.legend:
        yield Markup('<g class="series {}">').format(series.role if series else "rule")
        if series is None or series.line:
            yield _line(x, y, x + 26, y, "rule" if series is None else "key", dash)
        if series is not None:
            yield _marker(series.marker, x + 13, y)
        yield Markup("</g>")
        yield _label(x + 33, y + 4, name, css="legend")


def draw(
    chart: Chart, *, width: float, height: float, name: str, style: str = "", heading: bool = False
) -> Markup:
    """One SVG element, `width` units wide, with a title and a description for screen readers.

    `style` is a style sheet for a file that stands alone; inside a page the page's own applies.
    `heading` also draws the title, for the same case.
    """
    frame = lay_out(chart, width, height)
    lift = 34 if heading else 0
    parts: list[Markup] = []
    for piece in (_legend(frame), _y_axis(chart, frame), _x_axis(chart, frame)):
        parts += piece
    for piece in (_rules(chart, frame), _spans(chart, frame)):
        parts += piece
    for series in sorted(chart.series, key=lambda s: s.role is Role.BEST):
        parts += _series(series, frame)
    parts += _tags(chart, frame)
    body = Markup().join(parts)
    title = _label(0.0, -14.0, chart.title, css="heading") if heading else Markup()
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" '
        'viewBox="0 {} {:.0f} {:.0f}" width="{:.0f}" height="{:.0f}" '
        'aria-labelledby="{}-t {}-d">'
        '<title id="{}-t">{}</title><desc id="{}-d">{}</desc>{}{}{}</svg>'
    ).format(
        -lift,
        width,
        frame.height + lift,
        width,
        frame.height + lift,
        name,
        name,
        name,
        chart.title,
        name,
        chart.description,
        Markup("<style>{}</style>").format(Markup(style)) if style else Markup(),  # noqa: S704
        title,
        body,
    )
