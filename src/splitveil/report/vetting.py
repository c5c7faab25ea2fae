"""One page on a network that was vetted: the answer, the statistics, and honest ones beside it."""

import json
import math
import statistics as plain
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splitveil.errors import BadData
from splitveil.quantities import Quantity
from splitveil.report.chart import Axis, Chart, Point, Role, Rule, Series
from splitveil.report.html import chart_style, page_from
from splitveil.report.numbers import full, grouped, interval, number
from splitveil.report.story import Fact, KeyFigure
from splitveil.report.svg import draw
from splitveil.report.tables import EMPTY, Cell, Column, Table, shown_quantity
from splitveil.report.wording import check_wording, text_of_page
from splitveil.storage import write_whole

LABELS = {
    "linear_probe": ("T3, linear probe", "what a linear map reads off, of the widest components"),
    "kernel_probe": ("Kernel probe", "what a smooth map reads off, of the whole variance"),
    "spread": ("T2, spread", "spread within classes over spread between class means"),
    "effective_rank": ("T2b, effective rank", "directions in which images of a class differ"),
    "residual_gradient": ("T1, residual gradient", "the task's pull on the last layer"),
    "last_layer_gain": ("T1b, last-layer gain", "loss that the last layer alone could shed"),
    "saliency": ("T4, saliency", "pull of pixels on losing scores over the winner's"),
}
_SHORT = {
    "linear_probe": "T3 linear",
    "kernel_probe": "kernel",
    "spread": "T2 spread",
    "effective_rank": "T2b rank",
    "residual_gradient": "T1 gradient",
    "last_layer_gain": "T1b gain",
    "saliency": "T4 saliency",
}
_SIZES = (("wide", 990.0, 0.0), ("middle", 640.0, 0.0), ("narrow", 300.0, 0.0))
_MAD = 1.4826


@dataclass(frozen=True, kw_only=True)
class Vetted:
    """What `splitveil vet` found, as its record holds it."""

    path: Path
    data: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """Statistics, the one that decides first."""
        known = [name for name in LABELS if name in self.data["statistics"]]
        return tuple(sorted(known, key=lambda name: name != self.data["main"]))

    def quantity(self, name: str) -> Quantity:
        """One statistic of the network."""
        return Quantity.from_json(self.data["statistics"][name])

    def honest(self, name: str) -> tuple[float, ...]:
        """The same of every honest network; empty where the null lacks it."""
        return tuple(float(v) for v in self.data["null"]["values"].get(name, ()))


def read_vetting(path: Path) -> Vetted:
    """The record in a folder.

    Raises:
        BadData: if there is none, or it holds something else.
    """
    file = path / "vet.json" if path.is_dir() else path
    try:
        found = Vetted(path=file.parent, data=json.loads(file.read_text(encoding="utf-8")))
        for name in found.names:
            found.quantity(name)
        _ = found.data["answer"], found.data["null"]["accuracies"], found.quantity(found.names[0])
    except OSError as error:
        raise BadData(f"no vetting in {file}: make one with `splitveil vet`") from error
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise BadData(f"{file} is no record of a vetting: make it again") from error
    return found


def main_chart(found: Vetted) -> Chart:
    """The statistic that decides, of this network and of every honest one, in its own unit."""
    name = found.data["main"]
    own, usual = found.quantity(name), found.honest(name)
    points = tuple(
        Point(x=v, y=1.0, low=v, high=v, text=f"honest network {i}: {number(v)}")
        for i, v in enumerate(usual)
    )
    mine = Point(x=own.value, y=0.0, low=own.low, high=own.high, text=f"this network: {full(own)}")
    return Chart(
        name="vetting",
        title=f"{LABELS[name][0]} of this network and of {len(usual)} honest ones",
        description=f"This network: {full(own)}. Honest: {number(min(usual))} to "
        f"{number(max(usual))}.",
        x=Axis(label="share of within-class variance read off →"),
        y=Axis(label="", scale="category", categories=("this network", "honest networks")),
        series=(
            Series(
                name="honest networks",
                role=Role.FLOOR,
                points=points,
                marker="ring",
                line=False,
                interval="x",
            ),
            Series(
                name="this network",
                role=Role.BEST,
                points=(mine,),
                marker="diamond",
                line=False,
                interval="x",
            ),
        ),
        rules=(Rule(name="largest of the honest", axis="x", value=max(usual), dash="2 3"),),
        notes=("Bar: 95 % interval over images.",),
    )


def all_chart(found: Vetted) -> Chart | None:
    """Every statistic in spreads of the honest networks from their middle."""
    names = [name for name in found.names if _scaled(found, name) is not None]
    if not names:
        return None
    rings, marks = [], []
    for row, name in enumerate(names):
        middle, wide = _scaled(found, name) or (0.0, 1.0)
        for v in found.honest(name):
            z = (v - middle) / wide
            if math.isfinite(z):
                rings.append(Point(x=z, y=float(row), low=z, high=z, text=f"honest: {number(v)}"))
        own = found.quantity(name).value
        z = (own - middle) / wide
        if math.isfinite(z):
            text = f"this network: {number(own)}, p = {number(found.data['p_values'][name])}"
            marks.append(Point(x=z, y=float(row), low=z, high=z, text=text))
    return Chart(
        name="statistics",
        title="Every statistic against its null",
        description="Median of the honest networks at 0, in units of their spread.",
        x=Axis(label="spreads from the honest median →"),
        y=Axis(label="", scale="category", categories=tuple(_SHORT[name] for name in names)),
        series=(
            Series(
                name="honest networks",
                role=Role.FLOOR,
                points=tuple(rings),
                marker="ring",
                line=False,
            ),
            Series(
                name="this network",
                role=Role.BEST,
                points=tuple(marks),
                marker="diamond",
                line=False,
            ),
        ),
        notes=("A spread is 1.48 times the median distance from the median.",),
    )


def _scaled(found: Vetted, name: str) -> tuple[float, float] | None:
    values = [v for v in found.honest(name) if math.isfinite(v)]
    if len(values) < 2 or name not in found.data["p_values"]:
        return None
    middle = plain.median(values)
    wide = _MAD * plain.median(abs(v - middle) for v in values)
    return (middle, wide) if wide > 0 else None


def statistics_table(found: Vetted) -> Table:
    """A row for each statistic: of this network, of honest ones, and its p value."""
    rows = []
    for name in found.names:
        usual = found.honest(name)
        p = found.data["p_values"].get(name)
        rows.append(
            (
                Cell(text=LABELS[name][0], small=LABELS[name][1]),
                shown_quantity(found.quantity(name)),
                Cell(text=f"{number(min(usual))} to {number(max(usual))}") if usual else EMPTY,
                Cell(text=number(plain.median(usual))) if usual else EMPTY,
                EMPTY if p is None else Cell(text=number(p), key=repr(p)),
            )
        )
    return Table(
        name="statistics",
        caption=f"p: one plus the honest networks at or above this one, over one plus their "
        f"number, {len(found.data['null']['accuracies'])}; one at a time and uncorrected.",
        columns=(
            Column(name="statistic", numeric=False),
            Column(name="this network"),
            Column(name="honest", unit="least to most"),
            Column(name="honest", unit="median"),
            Column(name="p"),
        ),
        rows=tuple(rows),
    )


def write_vetting(path: Path) -> Path:
    """Write vet.html and vet.svg beside a vetting's record.

    Raises:
        BadData: as `read_vetting`.
        MislabelledClaim: if the page would call something a bound that is none.
        StorageFailed: if it cannot be written.
    """
    found = read_vetting(path)
    chart = main_chart(found)
    page = _page(found, chart)
    data = found.data
    names = {data["model"]["name"], data["data"]["name"], data["cut"], data["null"]["family"]}
    check_wording(text_of_page(page), names=names | set(data["notes"]) | {data["null"]["command"]})
    figure = draw(chart, width=760.0, height=0.0, name="vet", style=chart_style(), heading=True)
    write_whole(found.path / "vet.svg", str(figure).encode())
    write_whole(found.path / "vet.html", page.encode())
    return found.path / "vet.html"


def _page(found: Vetted, chart: Chart) -> str:
    data = found.data
    return page_from(
        "vetting.html.j2",
        {
            "model": data["model"]["name"],
            "data": data["data"]["name"],
            "version": data["splitveil"],
            "answer": data["answer"],
            "suspicious": data["answer"] == "SUSPICIOUS",
            "headline": _headline(data),
            "reasons": data["reasons"],
            "key_figures": _key_figures(found),
            "main": _drawn(chart),
            "rest": None if (rest := all_chart(found)) is None else _drawn(rest),
            "table": statistics_table(found),
            "level": f"{data['level']:g}",
            "honest": _honest(data),
            "provenance": _provenance(data),
            "notes": data["notes"],
            "cannot_see": data["cannot_see"],
        },
    )


def _drawn(chart: Chart) -> dict[str, Any]:
    variants = tuple(
        (css, draw(chart, width=width, height=height, name=f"{chart.name}-{css}"))
        for css, width, height in _SIZES
    )
    return {"chart": chart, "variants": variants, "heading": True, "caption": ""}


def _headline(data: Mapping[str, Any]) -> str:
    where = f"What crosses at {data['cut']}" if data["cut"] else "What the network answers"
    return {
        "SUSPICIOUS": f"{where} tells more of an image than in any honest network compared.",
        "CONSISTENT WITH HONEST": f"{where} tells of an image what it tells in honest networks.",
    }.get(data["answer"], "These honest networks cannot decide it.")


def _key_figures(found: Vetted) -> list[KeyFigure]:
    data, main = found.data, found.data["main"]
    own, usual = found.quantity(main), found.honest(main)
    right = Quantity.from_json(data["accuracy"])
    honest = data["null"]["accuracies"]
    return [
        KeyFigure(
            label=f"{LABELS[main][0]}, this network",
            value=number(own.value),
            small=interval(own),
            title=full(own),
            css="best" if data["answer"] == "SUSPICIOUS" else "",
        ),
        KeyFigure(
            label="the largest of the honest networks",
            value=number(max(usual)),
            small=f"from {number(min(usual))} on, {len(usual)} networks",
        ),
        KeyFigure(
            label="p, corrected for two tests",
            value=number(data["p"]),
            small=f"T3 alone {number(data['p_main'])}, all together {number(data['p_joint'])}",
        ),
        KeyFigure(label="accuracy, this network", value=number(right.value), small=interval(right)),
        KeyFigure(
            label="accuracy, honest networks",
            value=number(sum(honest) / len(honest)),
            small=f"{number(min(honest))} to {number(max(honest))}",
        ),
    ]


def _honest(data: Mapping[str, Any]) -> list[Fact]:
    null = data["null"]
    return [
        Fact(name="How many", value=str(len(null["accuracies"]))),
        Fact(name="Build", value=null["family"]),
        Fact(name="Trained", value=null["how"]),
        Fact(name="Made by", value=null["command"]),
        Fact(name="Seed", value=str(null["seed"])),
    ]


def _provenance(data: Mapping[str, Any]) -> list[Fact]:
    images = grouped(data["data"]["images"])
    return [
        Fact(name="Network", value=data["model"]["name"], meaning=data["model"]["digest"]),
        Fact(name="Looked at", value=data["cut"] or "the outputs"),
        Fact(name="Images", value=f"{images} of {data['data']['name']}, with labels"),
    ]
