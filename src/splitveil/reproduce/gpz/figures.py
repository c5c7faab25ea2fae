"""Golden Partition Zone: how the attack's error grows along four networks, and nc1 beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from splitveil.quantities import Quantity
from splitveil.report.chart import ATTACK_ROLES, Axis, Chart, Marker, Point, Rule, Series
from splitveil.report.html import chart_style
from splitveil.report.svg import draw
from splitveil.reproduce.experiment import ArmMissing, Evidence, Scale
from splitveil.reproduce.gpz.attacks import errors_at, floors, ratio
from splitveil.reproduce.gpz.claims import NETWORKS
from splitveil.reproduce.gpz.places import PLACES
from splitveil.reproduce.gpz.zone import places_of
from splitveil.rng import Rng
from splitveil.storage import write_whole

Rows: TypeAlias = dict[str, list[tuple[float, Quantity, str]]]

_MARKERS: tuple[Marker, ...] = ("circle", "square", "triangle", "diamond")
_DASHES = ("", "6 3", "2 3", "8 3 2 3")
_DRAWN = Rng(0).child("gpz", "figures")


def figures(evidence: Evidence, scale: Scale, folder: Path) -> None:
    """Write gpz-eta.svg and gpz-nc1.svg of the networks that were attacked at every cut.

    Raises:
        ArmMissing: if none was.
    """
    found = {}
    for network in NETWORKS:
        try:
            found[network] = _etas(evidence, network, scale)
        except ArmMissing:
            continue
    if not found:
        raise ArmMissing("no network was attacked at every cut")
    spread = {network: places_of(evidence, network) for network in found}
    by_place: Rows = {network: [] for network in found}
    by_nc1: Rows = {network: [] for network in found}
    for network, etas in found.items():
        for row, eta in zip(spread[network], etas, strict=True):
            place = len(by_place[network]) / (len(etas) - 1)
            by_place[network].append((place, eta, str(row["name"])))
            by_nc1[network].append((float(row["values"]["nc1"]), eta, str(row["name"])))
    _write(folder, _chart("gpz-eta", "Error of the decoder from cut to cut", _PLACE, by_place))
    _write(folder, _chart("gpz-nc1", "Error of the decoder by spread within classes", _NC1, by_nc1))


_PLACE = Axis(
    label="place among the attacked cuts, from the first to the logits", low=0.0, high=1.0
)
_NC1 = Axis(label="nc1: scatter within classes over scatter between them", scale="log")


def _etas(evidence: Evidence, network: str, scale: Scale) -> list[Quantity]:
    floor = np.stack([evidence.take(arm).arrays["class_mean"] for arm in floors(scale)])
    return [
        ratio(
            errors_at(evidence, network, cut, scale),
            floor.astype(np.float64),
            _DRAWN.child(network, cut),
        )
        for cut in PLACES[network]
    ]


def _chart(name: str, title: str, x: Axis, rows: Rows) -> Chart:
    series = tuple(
        Series(
            name=network,
            role=role,
            points=_points(rows[network]),
            marker=marker,
            dash=dash,
        )
        for network, role, marker, dash in zip(rows, ATTACK_ROLES, _MARKERS, _DASHES, strict=False)
    )
    return Chart(
        name=name,
        title=title,
        description=f"Error over that of the class mean at the cuts of {', '.join(rows)}.",
        x=x,
        y=Axis(label="eta: error over that of the class mean", low=0.0),
        series=series,
        rules=(Rule(name="class mean", axis="y", value=1.0, dash="4 4"),),
    )


def _points(rows: Sequence[tuple[float, Quantity, str]]) -> tuple[Point, ...]:
    return tuple(
        Point(x=x, y=eta.value, low=eta.low, high=eta.high, text=f"{name}: {eta}")
        for x, eta, name in rows
    )


def _write(folder: Path, chart: Chart) -> None:
    drawn = draw(
        chart, width=760.0, height=400.0, name=chart.name, style=chart_style(), heading=True
    )
    write_whole(folder / f"{chart.name}.svg", str(drawn).encode())
