"""Several bandwidths or several auxiliary sets at once: the choice that is least wrong in any."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from splitveil.errors import BadPlan
from splitveil.quantities import Quantity
from splitveil.select.candidates import Candidate
from splitveil.select.limits import Limits, breaches, proved_error
from splitveil.select.prefer import Chebyshev, Lexicographic
from splitveil.select.reading import Records

Cell = tuple[str, str]
Scored = Lexicographic | Chebyshev
"""Rules that put a number on a candidate."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One state of the world: the candidates as they are in it, and the records behind them."""

    name: str
    candidates: tuple[Candidate, ...]
    records: Records | None = None


@dataclass(frozen=True, kw_only=True)
class Regret:
    """What choosing `candidate` loses in each scenario against the best choice in it.

    None where the candidate breaks a limit or was not proven there; 0 where it is the best.
    """

    candidate: Candidate
    by_scenario: Mapping[str, float | None]

    @property
    def worst(self) -> float:
        """The largest; infinite if the candidate does not fit everywhere."""
        found = self.by_scenario.values()
        return max((math.inf if value is None else value for value in found), default=math.inf)


def worst_case(scenarios: Sequence[Scenario]) -> tuple[Candidate, ...]:
    """Every candidate at its worst: each objective from the scenario where its cautious end is.

    Limits hold for the result exactly if they hold in all scenarios. A candidate that some scenario
    lacks is missing every attack there.

    Raises:
        BadPlan: if there are no scenarios, or two of one name.
    """
    names = [one.name for one in scenarios]
    if not names or len(set(names)) < len(names):
        raise BadPlan(f"scenarios need names, each its own, got {', '.join(names) or 'none'}")
    cells: dict[Cell, dict[str, Candidate]] = {}
    for scenario in scenarios:
        for one in scenario.candidates:
            cells.setdefault((one.cut, one.release), {})[scenario.name] = one
    return tuple(
        _worst(list(there.values()), [name for name in names if name not in there])
        for there in sorted(cells.values(), key=lambda there: next(iter(there.values())).depth)
    )


def regrets(scenarios: Sequence[Scenario], limits: Limits, prefer: Scored) -> tuple[Regret, ...]:
    """The regret table, least worst regret first.

    In each scenario the loss of every candidate that fits there (by leakage, upper end, or by the
    largest weighted distance, scaled by what fits there), less the least such loss.
    """
    tables: dict[str, dict[Cell, float]] = {}
    for scenario in scenarios:
        fits = [o for o in scenario.candidates if not o.missing and not breaches(o, limits)]
        losses = prefer.losses(fits)
        least = min(losses, default=0.0)
        tables[scenario.name] = {
            (one.cut, one.release): loss - least for one, loss in zip(fits, losses, strict=True)
        }
    found = [
        Regret(
            candidate=one,
            by_scenario={name: table.get((one.cut, one.release)) for name, table in tables.items()},
        )
        for one in worst_case(scenarios)
    ]
    return tuple(sorted(found, key=lambda one: (one.worst, _total(one))))


def least_regret(table: Sequence[Regret], prefer: Scored) -> Candidate | None:
    """The candidate of least worst regret; among those within the rule's tolerance, the rule's.

    None if no candidate fits in every scenario.
    """
    fitting = [one for one in table if one.worst < math.inf]
    least = min((one.worst for one in fitting), default=math.inf)
    near = [one.candidate for one in fitting if one.worst <= least + prefer.tolerance]
    return prefer.best(near)


def _total(one: Regret) -> tuple[int, float]:
    known = [value for value in one.by_scenario.values() if value is not None]
    return -len(known), math.fsum(known)


def _worst(candidates: Sequence[Candidate], absent: Sequence[str]) -> Candidate:
    leaking = max(candidates, key=lambda one: one.leakage.high)
    missing = {attack for one in candidates for attack in one.missing}
    missing |= {f"any attack in {name}" for name in absent}
    return replace(
        leaking,
        accuracy=_end([one.accuracy for one in candidates], -1),
        latency=_end([one.latency for one in candidates]),
        latency_p95=_end([one.latency_p95 for one in candidates]),
        edge_seconds=_end([one.edge_seconds for one in candidates]),
        cloud_seconds=_end([one.cloud_seconds for one in candidates]),
        missing=tuple(sorted(missing)),
        bound=min(candidates, key=proved_error).bound,
    )


def _end(quantities: Sequence[Quantity | None], sign: int = 1) -> Quantity | None:
    """The one whose cautious end is worst; None if one is missing."""
    known = [one for one in quantities if one is not None]
    if len(known) < len(quantities):
        return None
    return max(known, key=lambda one: one.high if sign > 0 else -one.low)
