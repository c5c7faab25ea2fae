"""Bounds read together: the best of several, the level at which all hold, and contradictions.

No torch. Every alarm compares an attack, or a certified floor, with a bound that says otherwise.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from scipy import stats

from splitveil.quantities import Direction, Kind, Quantity
from splitveil.records import Outcome, Status, Task

NEGLIGIBLE = 1e-6
"""A mean squared error below that of rounding pixels to 8 bits: to prove it is to prove nothing."""

_LIMIT = 0.05


def error_bounds(outcome: Outcome) -> dict[str, Quantity]:
    """The lower bounds on any attacker's error that one claim trial proved, by name."""
    if outcome.trial.task is not Task.BOUND or outcome.status is not Status.DONE:
        return {}
    return {
        name: q
        for name, q in outcome.quantities.items()
        if name.startswith("mse_bound") and q.is_bound and q.direction is Direction.LOWER
    }


def joint_level(bounds: Iterable[Quantity]) -> float:
    """The confidence at which several bounds all hold: their failures add up (Bonferroni)."""
    return max(0.0, 1 - math.fsum(1 - q.level for q in bounds))


def shown_level(level: float) -> str:
    """A level with three digits, never rounded up: 0.998 for 0.9989."""
    return f"{math.floor(1000 * level + 1e-9) / 1000:g}"


def best_bound(outcomes: Iterable[Outcome], cut: str, release: str) -> Quantity | None:
    """The largest lower bound on the error at a cut under a release, at the joint level of all.

    The level is that at which every error bound of the run holds together, so the largest may be
    picked anywhere in it. One below `NEGLIGIBLE` is stated as 0.
    """
    every: list[Quantity] = []
    here: list[Quantity] = []
    for outcome in outcomes:
        found = list(error_bounds(outcome).values())
        every += found
        if (outcome.trial.cut, outcome.trial.release) == (cut, release):
            here += found
    if not here:
        return None
    best = max(here, key=lambda q: q.value)
    if best.value < NEGLIGIBLE:
        best = replace(best, value=0.0, low=0.0)
    if best.kind is Kind.THEOREM and len(here) == 1:
        return best
    level = joint_level(every)
    counted = sum(q.level < 1 for q in every)
    note = f"{counted} error bounds in this run hold together at {shown_level(level)}"
    kind = Kind.CONFIDENCE if counted else best.kind
    return replace(best, level=level, kind=kind, assumptions=(*best.assumptions, note))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Something found, which a bound says cannot be: `found` must reach `bound`.

    `high` gives the end of the finding's interval at a level; `text` finishes the sentence.
    """

    found: Quantity
    bound: Quantity
    text: str

    def contradicted(self, count: int) -> bool:
        """Whether the whole joint interval lies beyond the bound, with `count` comparisons."""
        if self.found.direction is Direction.LOWER:  # a certified floor against a ceiling
            return self.found.low > self.bound.high
        return widened(self.found, count) < self.bound.low


def widened(error: Quantity, count: int) -> float:
    """The upper end of a 95 % interval, widened to 1 - 0.05 / count by normal quantiles."""
    factor = float(stats.norm.ppf(1 - _LIMIT / count) / stats.norm.ppf(0.975))
    return error.value + max(1.0, factor) * (error.high - error.value)


def comparisons(outcomes: Sequence[Outcome], names: Mapping[str, str]) -> list[Comparison]:
    """Every attack against every error bound of its cell, every floor against every ceiling."""
    cells: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.status is Status.DONE and outcome.trial.task in (Task.BOUND, Task.ATTACK):
            cells.setdefault((outcome.trial.cut, outcome.trial.release), []).append(outcome)
    return [
        comparison
        for (cut, release), here in cells.items()
        for comparison in _in_cell(here, f"at {names.get(cut, cut)} with {release}")
    ]


def _in_cell(here: Sequence[Outcome], where: str) -> Iterator[Comparison]:
    bounds = [(name, q) for o in here for name, q in error_bounds(o).items() if q.value > 0]
    attacks = [o for o in here if o.trial.task is Task.ATTACK and "mse" in o.quantities]
    for outcome in attacks:
        error = outcome.quantities["mse"]
        for name, bound in bounds:
            yield Comparison(
                found=error,
                bound=bound,
                text=f"{outcome.trial.method} {where} reached mse {error}, below the bound "
                f"{bound.value:.4g} ({name})",
            )
    nats = [
        (name, q)
        for o in here
        if o.trial.task is Task.BOUND
        for name, q in o.quantities.items()
        if q.is_bound and q.unit == "nat per image" and name != "beyond_label"
    ]
    ceilings = [(n, q) for n, q in nats if q.direction is Direction.UPPER]
    for low_name, low in nats:
        if low.direction is not Direction.LOWER:
            continue
        for high_name, high in ceilings:
            yield Comparison(
                found=low,
                bound=high,
                text=f"{low_name} {where} certifies {low.value:.4g} nat an image, above the bound "
                f"{high.value:.4g} ({high_name})",
            )


def alarms(outcomes: Sequence[Outcome], names: Mapping[str, str]) -> list[str]:
    """What lies beyond a bound: one of the two is wrong.

    An attack raises an alarm where its whole interval, widened for all comparisons of the run
    (Bonferroni), lies below a bound; a certified floor of information where it exceeds a ceiling.
    Models, proxies and measured numbers bound nothing and are compared with nothing.
    """
    found = comparisons(outcomes, names)
    return [
        f"{one.text}: trust neither and report a bug"
        for one in found
        if one.contradicted(len(found))
    ]
