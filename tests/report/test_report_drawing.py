"""Numbers, scales, labels and drawings."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable
from itertools import combinations

import pytest
from run_folders import Builder

from splitveil.quantities import Direction, Kind, Quantity
from splitveil.report.chart import Axis, Chart, Point, Role, Rule, Series
from splitveil.report.figures import charts
from splitveil.report.labels import Box, place_tags
from splitveil.report.numbers import full, interval, number, scaled, seconds, shortened, shown
from splitveil.report.palette import DARK, LIGHT
from splitveil.report.raster import png
from splitveil.report.reading import read_report
from splitveil.report.scales import scale
from splitveil.report.svg import draw, text_width

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.41234, "0.412"),
        (0.0071234, "0.00712"),
        (0.9996, "1.00"),
        (99.96, "100"),
        (31.25, "31.2"),
        (123456.0, "123456"),
        (1.5e-7, "1.50 \N{MULTIPLICATION SIGN} 10⁻⁷"),
        (-2.5, "\N{MINUS SIGN}2.50"),
        (math.inf, "∞"),
    ],
)
def test_numbers_are_written_for_readers(value: float, text: str) -> None:
    assert number(value) == text


def test_units_and_durations() -> None:
    assert scaled(12_300_000, "FLOP") == "12.3 MFLOP"
    assert scaled(10_000_000, "") == "10 M"
    assert scaled(512, "B") == "512 B"
    assert seconds(2.5e-5) == "25.0 µs"
    assert seconds(0.25) == "250 ms"
    assert seconds(185) == "3 min 05 s"
    assert shortened("a" * 30, 10) == "aaa…aaaaaa"


def test_full_says_kind_level_unit_and_n() -> None:
    q = Quantity(value=0.41, low=0.38, high=0.44, unit="share", kind=Kind.MEASURED, n=500)
    assert full(q) == "0.410 [0.380, 0.440] share (measured, 95 % interval, n = 500)"
    least = Quantity(
        value=0.02,
        low=0.02,
        high=math.inf,
        unit="mse",
        kind=Kind.CONFIDENCE,
        direction=Direction.LOWER,
        n=9,
    )
    assert shown(least) == "≥ 0.0200"
    assert interval(least) == ""
    assert full(least) == "≥ 0.0200 mse (theorem at confidence, at 95 %, n = 9)"


@pytest.mark.parametrize("kind", ["linear", "log"])
@pytest.mark.parametrize("values", [[3.0], [1.0, 2.0], [1e-9, 1e9], [0.5, 0.5], [], [40.0, 46.0]])
def test_scales_hold_their_values_and_have_ticks(kind: str, values: list[float]) -> None:
    laid = scale(Axis(label="", scale=kind), values, 0.0, 100.0, 5)  # type: ignore[arg-type]
    assert all(0 <= laid.place(v) <= 100 for v in values)
    assert len(laid.ticks) >= 2
    assert len({label for _, label in laid.ticks}) == len(laid.ticks)
    assert all(laid.low * 0.99 <= v <= laid.high * 1.01 for v, _ in laid.ticks)


def test_log_scales_leave_out_what_has_no_place() -> None:
    laid = scale(Axis(label="", scale="log"), [0.0, math.inf, 1.0, 10.0], 0.0, 100.0, 5)
    assert not laid.holds(0.0)
    assert not laid.holds(math.inf)
    assert laid.holds(10.0)


def test_tags_never_overlap_marks_or_each_other() -> None:
    marks = [(10.0 + 7 * i, 50.0 + 11 * (i * i % 7), f"cut number {i}") for i in range(20)]
    room = Box(0.0, 0.0, 300.0, 150.0)
    boxes = [Box(x - 4, y - 4, x + 4, y + 4) for x, y, _ in marks]
    placed = list(place_tags(marks, room, text_width))
    assert placed
    for x, base, anchor, text in placed:
        width = text_width(text)
        left = {"start": x, "end": x - width, "middle": x - width / 2}[anchor]
        boxes.append(Box(left, base - 9, left + width, base + 2))
    assert all(box.within(room) for box in boxes[len(marks) :])
    for a, b in combinations(boxes[len(marks) :], 2):
        assert not a.meets(b)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("ground", ["paper", "card"])
@pytest.mark.parametrize(
    "name", ["ink", "soft", "best", "s0", "s1", "s2", "s3", "s4", "floor", "bound", "noise"]
)
def test_colours_hold_contrast(theme: dict[str, str], ground: str, name: str) -> None:
    a, b = sorted((luminance(theme[ground]), luminance(theme[name])))
    assert (b + 0.05) / (a + 0.05) >= 4.5


def corners(element: ET.Element) -> list[float]:
    if element.get("points"):
        return [float(p.partition(",")[0]) for p in element.get("points", "").split()]
    return [float(element.get(k, "nan")) for k in ("x1", "x2", "x") if element.get(k)]


@pytest.mark.parametrize("width", [300.0, 640.0, 990.0])
@pytest.mark.parametrize("cuts", [1, 20, 100])
def test_drawings_are_well_formed_and_stay_inside(
    builder: Callable[..., Builder], width: float, cuts: int
) -> None:
    report = read_report(builder(cuts=cuts, images=False).fill().write())
    for chart in (c for found in charts(report).values() for c in found):
        root = ET.fromstring(draw(chart, width=width, height=300.0, name="x"))
        assert root.find(f"{SVG}title") is not None
        assert root.find(f"{SVG}desc") is not None
        assert root.get("role") == "img"
        for element in root.iter():
            assert all(-1 <= x <= width + 1 for x in corners(element))
        for text in root.iter(f"{SVG}text"):
            if text.get("x") is None:
                continue
            x, long = float(text.get("x", "0")), text_width(text.text or "", 11.0)
            start = {"start": x, "end": x - long, "middle": x - long / 2}[
                text.get("text-anchor", "")
            ]
            assert start >= -2, text.text
            assert start + long <= width + 2, text.text


def test_colour_is_never_alone(builder: Callable[..., Builder]) -> None:
    report = read_report(builder(images=False).fill().write())
    for found in charts(report).values():
        for chart in found:
            looks = [(s.marker, s.dash, s.line) for s in chart.series]
            assert len(set(looks)) == len(looks) or chart.name == "leakage"
            markers = [s.marker for s in chart.series if s.role not in (Role.BEST,)]
            assert len(set(markers)) == len(markers)


def test_rasters_are_pictures_whatever_the_names() -> None:
    point = Point(x=0.0, y=0.5, low=0.4, high=0.6, text="t", tag="$x_{$ 漢")
    chart = Chart(
        name="n",
        title="$\\alpha$ 漢字",
        description="d",
        x=Axis(label="$", scale="category", categories=("$a^$",)),
        y=Axis(label="y"),
        series=(Series(name="_hidden$", role=Role.FIRST, points=(point,)),),
        rules=(Rule(name="r", axis="y", value=0.2, dash="1 2"),),
    )
    assert png(chart).startswith(b"\x89PNG")
