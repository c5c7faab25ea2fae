"""What was compared, as the summary says it: points at drops of accuracy, areas, leads."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from splitveil.audit.compare.arm import NONE, Attacked, Bench, Trained
from splitveil.audit.compare.curve import Curves, curves
from splitveil.audit.compare.plan import ComparisonPlan
from splitveil.audit.environment import this_environment
from splitveil.measures.paired import log_ratio
from splitveil.quantities import Quantity
from splitveil.rng import Rng

_DIGITS = 6
"""Of a drop in points: two that differ by less are one."""

Found = Mapping[tuple[str, ...], Attacked]
Errors = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Row:
    """A defence at a cut, and what stands for it at each drop.

    "none" has no defence and is the same at every drop, "tuned" has an arm at each, "point" has one
    at the drop it happens to have.
    """

    kind: Literal["none", "tuned", "point"]
    defence: str
    cut: str
    arms: Mapping[float, Trained]

    @staticmethod
    def plain(one: Trained) -> "Row":
        """No defence."""
        return Row(kind="none", defence=NONE, cut=one.place, arms={0.0: one})

    @staticmethod
    def point(one: Trained, drop: float) -> "Row":
        """One strength, at the drop it has."""
        return Row(kind="point", defence=one.text, cut=one.place, arms={drop: one})

    @staticmethod
    def tuned(defence: str, cut: str, drops: Sequence[float], arms: Sequence[Trained]) -> "Row":
        """A range, tuned to drops."""
        return Row(kind="tuned", defence=defence, cut=cut, arms=dict(zip(drops, arms, strict=True)))

    @property
    def name(self) -> str:
        """What a reader calls it."""
        return f"{'no defence' if self.kind == 'none' else self.defence} at {self.cut}"

    def at(self, drop: float) -> Trained | None:
        """What stands for it at a drop; None where a single strength has another."""
        return self.arms[0.0] if self.kind == "none" else self.arms.get(drop)


def dropped(plain: Trained, one: Trained) -> float:
    """Points of accuracy on validation images that an arm gives up, 0 if it gains some."""
    return round(max(0.0, plain.accuracy.value - one.accuracy.value) * 100, _DIGITS)


def levels(drops: Sequence[float], rows: Sequence[Row]) -> tuple[float, ...]:
    """All drops at which something is compared: those asked for, and those of single strengths."""
    own = {drop for row in rows if row.kind == "point" for drop in row.arms}
    return tuple(sorted({*drops, *own}))


def summary(
    bench: Bench, plan: ComparisonPlan, rows: Sequence[Row], attacked: Found
) -> dict[str, Any]:
    """The summary, costs and failures apart.

    The first row is the reference. Areas run over the plan's drops, between rows that have all of
    them; at every drop each row is set beside every other that has it, image by image.
    """
    reference = attacked[rows[0].arms[0.0].key]
    rng = Rng(bench.seed).child("compare")

    def compared(drops: Sequence[float], stream: Rng) -> Curves:
        errors: dict[str, list[Errors]] = {
            row.name: [attacked[one.key].errors for one in arms if one is not None]
            for row in rows
            if None not in (arms := [row.at(drop) for drop in drops])
        }
        return curves(errors, reference.errors, drops, stream)

    areas = compared(plan.drops, rng.child("curves"))
    beside = {
        drop: compared([drop], rng.child("drop", drop))
        for drop in sorted({0.0, *levels(plan.drops, rows)})
    }
    series = []
    for row in rows:
        points = [
            _point(row, drop, attacked[one.key], one, reference, beside[drop], rng)
            for drop, one in row.arms.items()
        ]
        ranged = row.kind != "point"
        series.append(
            {
                "name": row.name,
                "kind": row.kind,
                "cut": row.cut,
                "defence": row.defence,
                "points": points,
                "area": areas.area[row.name].to_json() if ranged else None,
                "ahead": _json(areas.ahead[row.name]) if ranged else {},
            }
        )
    return {
        "splitveil": this_environment(bench.device).splitveil,
        "model": {"name": bench.model.name, "digest": bench.model.digest},
        "data": {
            "trained": bench.images.name,
            "attacked": bench.splits.name,
            "test": len(bench.splits.test),
            "digest": bench.splits.digest,
        },
        "plan": asdict(plan),
        "schedule": asdict(bench.schedule),
        "threat": asdict(bench.threat),
        "reference": {"cut": rows[0].cut, "defence": NONE},
        "series": series,
    }


def _point(
    row: Row,
    drop: float,
    found: Attacked,
    one: Trained,
    reference: Attacked,
    beside: Curves,
    rng: Rng,
) -> dict[str, Any]:
    ratio = log_ratio(
        torch.from_numpy(found.errors),
        torch.from_numpy(reference.errors),
        rng.child("ratio", row.name, drop),
    )
    return {
        "drop": drop,
        "defence": one.text,
        "met": row.kind != "tuned" or one.text != NONE,
        "validation_accuracy": one.accuracy.to_json(),
        "accuracy_lost": (reference.accuracy.value - found.accuracy.value) * 100,
        "ratio": ratio.to_json(),
        "ahead": _json(beside.ahead[row.name]),
        "statements": [*one.statements],
        **found.to_json(),
    }


def _json(found: Mapping[str, Quantity]) -> dict[str, Any]:
    return {name: quantity.to_json() for name, quantity in found.items()}
