"""Defences side by side at equal utility: one figure, one table and a page."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splitveil.errors import BadData
from splitveil.quantities import Kind, Quantity
from splitveil.report.chart import ATTACK_ROLES, Axis, Chart, Marker, Point, Role, Rule, Series
from splitveil.report.headtohead import head_table, times
from splitveil.report.html import chart_style, page_from
from splitveil.report.numbers import number
from splitveil.report.svg import draw
from splitveil.report.tables import Cell, Column, Table, shown_quantity
from splitveil.report.wording import check_wording, text_of_page
from splitveil.storage import write_whole

_MARKERS: tuple[Marker, ...] = ("circle", "square", "triangle", "diamond", "cross")
_DASHES = ("", "7 4", "2 3", "7 3 2 3", "1 4")
_SIZES = (("wide", 990.0, 420.0), ("middle", 640.0, 380.0), ("narrow", 300.0, 340.0))
_COLUMNS = (
    Column(name="defence", numeric=False),
    Column(name="at a drop of", unit="points"),
    Column(name="strength chosen", numeric=False),
    Column(name="accuracy", unit="share", kind="measured"),
    Column(name="error raised", unit="times", kind="measured"),
    Column(name="leakage", unit="share", kind="measured"),
    Column(name="best attack", numeric=False),
    Column(name="sent", unit="bytes"),
    Column(name="on the device", unit="MFLOP"),
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `splitveil compare` found, as its summary holds it."""

    path: Path
    data: Mapping[str, Any]

    @property
    def ranked(self) -> tuple[Mapping[str, Any], ...]:
        """Those that have an area, one a defence and cut, the largest first."""
        ranged = [one for one in self.data["series"] if one["area"] is not None]
        return tuple(sorted(ranged, key=lambda one: -float(one["area"]["value"])))

    @property
    def points(self) -> tuple[Mapping[str, Any], ...]:
        """Those of one strength, at the accuracy they have."""
        return tuple(one for one in self.data["series"] if one["kind"] == "point")

    @property
    def series(self) -> tuple[Mapping[str, Any], ...]:
        """All: those with an area first."""
        return (*self.ranked, *self.points)

    def area(self, one: Mapping[str, Any]) -> Quantity:
        """How much a defence raises the error on average over the drops, log ratio."""
        return Quantity.from_json(one["area"])


def read_comparison(path: Path) -> Comparison:
    """The summary in a comparison's folder.

    Raises:
        BadData: if there is none, or it holds something else.
    """
    file = path / "compare.json" if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        found = Comparison(path=file.parent, data=data)
        for one in found.ranked:
            found.area(one)
    except OSError as error:
        raise BadData(f"no comparison in {file}: make one with `splitveil compare`") from error
    except (KeyError, TypeError, ValueError) as error:
        raise BadData(f"{file} is no comparison of defences: make it again") from error
    return found


def comparison_chart(found: Comparison) -> Chart:
    """Error of the best attack against accuracy given up, both against the first cut undefended."""
    ranges = [one for one in found.ranked if one["kind"] == "tuned"]
    # colour and mark say the defence, dashes the cut
    defences = list(dict.fromkeys(one["defence"] for one in ranges))[: len(ATTACK_ROLES)]
    cuts = list(dict.fromkeys(one["cut"] for one in found.ranked if one["kind"] == "none"))
    cuts.sort(key=list(found.data["plan"]["cuts"]).index)
    lines = [
        Series(
            name=one["name"],
            role=ATTACK_ROLES[place],
            points=_points(one),
            marker=_MARKERS[place],
            dash=_DASHES[cuts.index(one["cut"]) % len(_DASHES)],
        )
        for place, defence in enumerate(defences)
        for one in sorted(ranges, key=lambda one: cuts.index(one["cut"]))
        if one["defence"] == defence
    ]
    series = [*lines]
    if found.points:
        series.append(
            _apart(
                "of one strength",
                Role.BEST,
                "wedge",
                found.points,
                [p["name"] for p in found.points],
            )
        )
    plain = [one for one in found.ranked if one["kind"] == "none"]
    # the rule names the first
    tags = ["" if one["cut"] == cuts[0] else one["cut"] for one in plain]
    series.append(_apart("no defence", Role.FLOOR, "ring", plain, tags))
    told = "; ".join(f"{one['name']}: {_factor(found.area(one))} times" for one in found.ranked)
    left = len(ranges) - len(lines)
    note = f" {left} more are in the table." if left else ""
    return Chart(
        name="comparison",
        title="Error of the best attack against accuracy given up",
        description=f"Error raised on average over the drops. {told}",
        x=Axis(label="accuracy given up on test images, points →"),
        y=Axis(label="error of the best attack, times that undefended", scale="log"),
        series=tuple(series),
        rules=(Rule(name=f"no defence at {cuts[0]}", axis="y", value=1.0, dash="2 3"),),
        notes=(f"Up and to the left is better. Bars: 95 % intervals over images.{note}",),
    )


def _apart(
    name: str,
    role: Role,
    marker: Marker,
    found: Sequence[Mapping[str, Any]],
    tags: Sequence[str],
) -> Series:
    """Points without a line, each with its name."""
    points = [p for one, tag in zip(found, tags, strict=True) for p in _points(one, tag=tag)]
    return Series(name=name, role=role, points=tuple(points), marker=marker, line=False)


def _points(one: Mapping[str, Any], *, tag: str = "") -> tuple[Point, ...]:
    points = []
    for point in one["points"]:
        ratio = Quantity.from_json(point["ratio"])
        points.append(
            Point(
                x=float(point["accuracy_lost"]),
                y=math.exp(ratio.value),
                low=math.exp(ratio.low),
                high=math.exp(ratio.high),
                text=f"{point['defence']} at {one['cut']}: error {_times(ratio)}, "
                f"{number(point['accuracy_lost'])} points of accuracy given up",
                tag=tag,
            )
        )
    return tuple(sorted(points, key=lambda p: p.x))


def _factor(log: Quantity) -> str:
    return number(math.exp(log.value))


def _times(log: Quantity) -> str:
    low, high = (number(math.exp(end)) for end in (log.low, log.high))
    return f"{_factor(log)} [{low}, {high}] times"


def comparison_table(found: Comparison) -> Table:
    """A row for each defence, cut and drop."""
    rows = tuple(_row(one, point) for one in found.series for point in one["points"])
    test = found.data["data"]["test"]
    return Table(
        name="comparison",
        caption=f"n = {test} test images, 95 % intervals over images. Strengths were chosen on "
        "validation images, attacks as well; accuracy and error are of test images.",
        columns=_COLUMNS,
        rows=rows,
    )


def _row(one: Mapping[str, Any], point: Mapping[str, Any]) -> tuple[Cell, ...]:
    ratio = Quantity.from_json(point["ratio"])
    chosen = point["defence"] if point["met"] else "none is weak enough"
    return (
        Cell(text=one["name"]),
        Cell(text=f"{point['drop']:g}", key=repr(point["drop"])),
        Cell(text=chosen),
        shown_quantity(Quantity.from_json(point["accuracy"])),
        times(ratio),
        shown_quantity(Quantity.from_json(point["leakage"])),
        Cell(text=str(point["attack"]).partition("(")[0], title=point["attack"]),
        Cell(text=str(point["bytes"]), key=str(point["bytes"])),
        Cell(text=number(point["edge_flops"] / 1e6), key=repr(point["edge_flops"])),
    )


def area_table(found: Comparison) -> Table:
    """A row for each defence: its area, and how far it is ahead of the next."""
    rows = []
    for place, one in enumerate(found.ranked):
        after = found.ranked[place + 1]["name"] if place + 1 < len(found.ranked) else ""
        lead = Quantity.from_json(one["ahead"][after]) if after else None
        rows.append(
            (
                Cell(text=one["name"]),
                times(found.area(one)),
                Cell(text=after or "–"),  # noqa: RUF001
                Cell(text="–") if lead is None else times(lead),  # noqa: RUF001
            )
        )
    return Table(
        name="areas",
        caption="Error raised on average over the drops (geometric mean by the trapezoidal rule); "
        "the lead over the next is paired image by image. An interval that holds 1 shows no "
        "difference. Other trainings are not in the intervals.",
        columns=(
            Column(name="defence", numeric=False),
            Column(name="error raised", unit="times", kind="measured"),
            Column(name="the next", numeric=False),
            Column(name="ahead of it by", unit="times", kind="measured"),
        ),
        rows=tuple(rows),
    )


def stated_table(found: Comparison) -> Table | None:
    """What hardenings stated of the releases they fitted, or None where none did."""
    rows = {
        (one["name"], point["defence"], place): _stated(one, point, statement)
        for one in found.series
        for point in one["points"]
        # comparisons of before have none
        for place, statement in enumerate(point.get("statements", ()))
    }
    if not rows:
        return None
    return Table(
        name="stated",
        caption="By the hardening that fitted the release, on images of its own. A theorem limits "
        "every attacker on its assumptions; a model or proxy limits none.",
        columns=(
            Column(name="defence", numeric=False),
            Column(name="component", numeric=False),
            Column(name="what", numeric=False),
            Column(name="value"),
            Column(name="unit", numeric=False),
            Column(name="kind", numeric=False),
            Column(name="it rests on", numeric=False),
        ),
        rows=tuple(rows.values()),
    )


def _stated(
    one: Mapping[str, Any], point: Mapping[str, Any], statement: Mapping[str, Any]
) -> tuple[Cell, ...]:
    q = Quantity.from_json(statement["quantity"])
    return (
        Cell(text=f"{point['defence']} at {one['cut']}"),
        Cell(text=statement["component"]),
        Cell(text=statement["text"], css="wrap"),
        shown_quantity(q, css="bound" if q.is_bound else ""),
        Cell(text=q.unit),
        Cell(
            text=str(q.kind), small=f"at {100 * q.level:g} %" if q.kind is Kind.CONFIDENCE else ""
        ),
        Cell(text="; ".join(q.assumptions), css="wrap"),
    )


def answer(found: Comparison) -> str:
    """What the comparison says, in a sentence no stronger than it bears."""
    if not any(one["kind"] == "tuned" for one in found.ranked):
        return _answer_of_points(found)
    first = found.ranked[0]
    area = found.area(first)
    drops = found.data["plan"]["drops"]
    over = f"on average over drops of {drops[0]:g} to {drops[-1]:g} points"
    if len(drops) == 1:
        over = f"at a drop of {drops[0]:g} point{'s' if drops[0] != 1 else ''}"
    if area.low <= 0:
        return f"No defence raised the best attack's error beyond chance, {over}."
    said = f"{first['name']} raised the best attack's error {_times(area)} {over}"
    tied = [
        one["name"]
        for one in found.ranked[1:]
        if Quantity.from_json(first["ahead"][one["name"]]).low <= 0
    ]
    if tied:
        return f"{said}; {_listed(tied)} cannot be told apart from it."
    return f"{said}, more than every other."


def _answer_of_points(found: Comparison) -> str:
    """Of single strengths, which stand at accuracies of their own."""
    told = []
    for one in found.points:
        (point,) = one["points"]
        ratio, lost = Quantity.from_json(point["ratio"]), float(point["accuracy_lost"])
        change = f"raised the best attack's error {_times(ratio)}"
        if ratio.low <= 0:
            change = f"did not raise the best attack's error beyond chance ({_times(ratio)})"
        told.append(f"{one['name']} {change} and gave up {number(lost)} points of accuracy")
    return f"{'; '.join(told)}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def write_comparison(path: Path) -> Path:
    """Write comparison.html, .svg, .json and .csv beside a comparison's summary.

    Raises:
        BadData: as `read_comparison`.
        MislabelledClaim: if the page would call something a bound that is none.
        StorageFailed: if it cannot be written.
    """
    found = read_comparison(path)
    chart = comparison_chart(found)
    tables = (comparison_table(found), area_table(found))
    page = _page(found, chart, tables)
    check_wording(text_of_page(page), names=_names(found))
    figure = draw(
        chart, width=760.0, height=380.0, name=chart.name, style=chart_style(), heading=True
    )
    data = json.dumps(chart.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    for name, content in (
        ("comparison.svg", str(figure)),
        ("comparison.json", data + "\n"),
        ("comparison.csv", tables[0].to_csv()),
        ("comparison.html", page),
    ):
        write_whole(found.path / name, content.encode())
    return found.path / "comparison.html"


def _page(found: Comparison, chart: Chart, tables: tuple[Table, Table]) -> str:
    data = found.data
    variants = tuple(
        (css, draw(chart, width=width, height=height, name=f"{chart.name}-{css}"))
        for css, width, height in _SIZES
    )
    return page_from(
        "comparison.html.j2",
        {
            "model": data["model"]["name"],
            "data": data["data"]["attacked"],
            "trained": data["data"]["trained"],
            "version": data["splitveil"],
            "headline": answer(found),
            "drawn": {"chart": chart, "variants": variants, "heading": False, "caption": ""},
            "table": tables[0],
            "stated": stated_table(found),
            "areas": tables[1],
            "heads": head_table(data),
            "tuned": any(one["kind"] == "tuned" for one in found.ranked),
            "failures": data["failures"],
            "attacks": data["plan"]["attacks"],
            "threat": data["threat"],
            "trainings": data["trainings"],
            "minutes": number(data["cpu_minutes"]),
            "reference": data["reference"]["cut"],
        },
    )


def _names(found: Comparison) -> set[str]:
    names = {one["name"] for one in found.data["series"]}
    names |= {point["defence"] for one in found.data["series"] for point in one["points"]}
    return names | {found.data["model"]["name"], found.data["data"]["attacked"]}
