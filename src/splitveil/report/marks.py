"""What figures share: the names of floors, the axis of cuts, quantities as points."""

from splitveil.quantities import Quantity
from splitveil.report.chart import Point, Rule
from splitveil.report.reading import Report

DASHES = {"MeanImage": "1 4", "ClassMean": "7 4", "NearestAuxiliary": "2 3 7 3"}
FLOOR_NAMES = {
    "MeanImage": "floor: mean image",
    "ClassMean": "floor: class mean",
    "NearestAuxiliary": "floor: nearest auxiliary image",
}
DEPTH = "cuts, deeper to the right →"


def categories(report: Report) -> tuple[str, ...]:
    """Names of the cuts, shallow to deep."""
    return tuple(cut.name for cut in report.cuts)


def position(report: Report) -> dict[str, int]:
    """Where each cut lies on that axis, by id."""
    return {cut.id: index for index, cut in enumerate(report.cuts)}


def point(x: float | int, quantity: Quantity, text: str, tag: str = "") -> Point:
    """A quantity at `x`, its interval upright."""
    return Point(
        x=float(x), y=quantity.value, low=quantity.low, high=quantity.high, text=text, tag=tag
    )


def merged(rules: list[Rule]) -> tuple[Rule, ...]:
    """Rules at one value as one rule that carries all their names."""
    groups: dict[float, list[Rule]] = {}
    for rule in rules:
        groups.setdefault(rule.value, []).append(rule)
    return tuple(
        Rule(
            name="floor: " + ", ".join(r.name.removeprefix("floor: ") for r in group),
            axis=group[0].axis,
            value=value,
            dash=group[0].dash,
        )
        for value, group in groups.items()
    )
