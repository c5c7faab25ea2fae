"""What a figure shows, apart from how it is drawn: one description, several renderers."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from splitveil.report.numbers import finite_json

Marker = Literal["circle", "square", "triangle", "diamond", "cross", "wedge", "ring", "ceiling"]


class Role(StrEnum):
    """What a series stands for; colour follows the role, and marker and dash say it again."""

    BEST = "best"
    FIRST = "s0"
    SECOND = "s1"
    THIRD = "s2"
    FOURTH = "s3"
    FIFTH = "s4"
    FLOOR = "floor"
    BOUND = "bound"
    NOISE = "noise"


ATTACK_ROLES = (Role.FIRST, Role.SECOND, Role.THIRD, Role.FOURTH, Role.FIFTH)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis: a scale, or categories at 0, 1, 2, ...; `prefixes` writes 10 M for 10 000 000."""

    label: str
    scale: Literal["linear", "log", "category"] = "linear"
    categories: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    prefixes: bool = False


@dataclass(frozen=True, kw_only=True)
class Point:
    """One number with its interval; `text` says it in full, `tag` is a name drawn beside it.

    A point that is not `marked` carries the line and no mark: nothing was measured there.
    """

    x: float
    y: float
    low: float
    high: float
    text: str
    tag: str = ""
    marked: bool = True


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points that belong together; the interval runs along `interval`."""

    name: str
    role: Role
    points: tuple[Point, ...]
    marker: Marker = "circle"
    dash: str = ""
    line: bool = True
    interval: Literal["x", "y"] = "y"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A line across the whole figure at one value of one axis."""

    name: str
    axis: Literal["x", "y"]
    value: float
    dash: str


@dataclass(frozen=True, kw_only=True)
class Span:
    """A bar in row `y` from x = `start` to x = `end`."""

    y: float
    start: float
    end: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure: what is drawn, what it is called, and what a reader who cannot see it is told.

    `legend` is False for one of several that share a legend.
    """

    name: str
    title: str
    description: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    rules: tuple[Rule, ...] = ()
    spans: tuple[Span, ...] = ()
    notes: tuple[str, ...] = ()
    legend: bool = True

    def to_json(self) -> dict[str, Any]:
        """The figure's data, infinities as strings."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "x": {"label": self.x.label, "scale": self.x.scale, "categories": self.x.categories},
            "y": {"label": self.y.label, "scale": self.y.scale, "categories": self.y.categories},
            "series": [
                {
                    "name": s.name,
                    "role": s.role,
                    "interval": s.interval,
                    "points": [
                        {
                            "x": finite_json(p.x),
                            "y": finite_json(p.y),
                            "low": finite_json(p.low),
                            "high": finite_json(p.high),
                            "text": p.text,
                        }
                        for p in s.points
                    ],
                }
                for s in self.series
            ],
            "rules": [
                {"name": r.name, "axis": r.axis, "value": finite_json(r.value)} for r in self.rules
            ],
            "notes": self.notes,
        }
