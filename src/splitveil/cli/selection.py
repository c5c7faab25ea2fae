"""What `splitveil select` prints: a table with the reason for each exclusion, or JSON."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from splitveil.audit.joint import shown_level
from splitveil.audit.sent import PLAIN
from splitveil.quantities import Quantity
from splitveil.select import Candidate, Knee, Records, Selection, Sensitivity, dominates
from splitveil.select.limits import option, proved_error
from splitveil.select.met import CHEAP
from splitveil.select.prefer import Preference
from splitveil.select.reading import method_name
from splitveil.select.units import written

if TYPE_CHECKING:
    from splitveil.cli.reaudit import Second

_MARKS = {"chosen": "bold green", "fits": "", "unproven": "yellow", "fails": "dim"}
_SHOWN = 5
_ROOMY, _WIDEST = 110, 32
_CAPTION = (
    "L: measured, to the upper end of its interval; accuracy: the lower end; times: the upper end; "
    "p95: of the device, the wire and the cloud, added"
)


@dataclass(frozen=True, kw_only=True)
class Told:
    """A selection with all that is said of it."""

    runs: tuple[Records, ...]
    selection: Selection
    prefer: Preference
    hangs: tuple[Sensitivity, ...]
    second: "Second | None"
    trouble: str

    @property
    def records(self) -> Records:
        """The first run's, after which the table is named."""
        return self.runs[0]

    def rows(self) -> Iterator[tuple[str, Candidate, str]]:
        """(state, candidate, reason), the chosen one first, then what fits by leakage."""
        chosen, selection = self.selection.chosen, self.selection
        if chosen is not None:
            yield "chosen", chosen, "chosen"
        for one in sorted(selection.fitting, key=_leakage):
            if one != chosen:
                yield "fits", one, self._why_not(one)
        for one in sorted(selection.unproven, key=_leakage):
            yield "unproven", one, f"not met: {_methods(one.missing)}"
        for one, broken in sorted(selection.failing, key=lambda pair: _leakage(pair[0])):
            yield "fails", one, "; ".join(map(str, broken))

    def _why_not(self, one: Candidate) -> str:
        if one in self.selection.front:
            return "on the front"
        beating = [other for other in self.selection.front if dominates(other, one)]
        return f"beaten by {self.short(beating[0])}" if beating else "beaten"

    def short(self, one: Candidate) -> str:
        """The candidate's name, its release with as much of its settings as tells it apart."""
        if one.release == PLAIN:
            return one.name
        others = {other.release for _, other in self._all()} - {one.release}
        parts = one.release.rstrip(")").split(", ")
        for count in range(1, len(parts)):
            start = ", ".join(parts[:count])
            if not any(other.startswith((f"{start},", f"{start})")) for other in others):
                return f"{one.name} + {start})" + ")" * (start.count("(") - 1)
        return f"{one.name} + {one.release}"

    def _all(self) -> Iterator[tuple[str, Candidate]]:
        selection = self.selection
        for state, group in (("fits", selection.fitting), ("unproven", selection.unproven)):
            yield from ((state, one) for one in group)
        yield from (("fails", one) for one, _ in selection.failing)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        selection = self.selection
        return {
            "run": str(self.records.path),
            "also": [str(one.path) for one in self.runs[1:]],
            "complete": all(one.complete for one in self.runs),
            "alarms": [alarm for one in self.runs for alarm in one.alarms],
            "utility": self.records.utility,
            "limits": asdict(selection.limits),
            "rule": str(self.prefer),
            "chosen": None if selection.chosen is None else selection.chosen.to_json(),
            "reaudit": None
            if self.second is None or selection.chosen is None
            else self.second.to_json(selection.chosen),
            "trouble": self.trouble,
            "candidates": [
                {**one.to_json(), "state": state, "front": one in selection.front, "why": why}
                for state, one, why in self.rows()
            ],
            "relaxations": [
                {
                    "cut": one.candidate.cut,
                    "name": one.candidate.name,
                    "release": one.candidate.release,
                    "limits": dict(one.limits),
                    "excess": {
                        breach.name: None if breach.value is None else breach.excess
                        for breach in one.breaches
                    },
                }
                for one in selection.relaxations
            ],
            "regrets": [
                {
                    "cut": one.candidate.cut,
                    "name": one.candidate.name,
                    "release": one.candidate.release,
                    "worst": None if math.isinf(one.worst) else one.worst,
                    "by_scenario": dict(one.by_scenario),
                }
                for one in selection.regrets
            ],
            "knee": None if (knee := self.knee()) is None else knee.to_json(),
            "sensitivity": [
                {
                    "without": one.attack,
                    "changes": one.changes(selection.chosen),
                    "chosen": None if one.chosen is None else one.chosen.to_json(),
                    "leaks": None if one.leaks is None else one.leaks.leakage.to_json(),
                }
                for one in self.hangs
            ],
        }

    def knee(self) -> Candidate | None:
        """Where the front bends between leakage and time, if it does."""
        return Knee().find(self.selection.front)

    def show(self) -> None:
        """Print the table and what follows from it."""
        console = Console(highlight=False)
        console.print(self._table(console.width))
        if self.selection.regrets:
            console.print(self._regrets())
        for line in self.lines():
            console.print(line, markup=False, soft_wrap=True)

    def _table(self, width: int) -> Table:
        every = [one for _, one, _ in self.rows()]
        columns: list[tuple[str, Callable[[Candidate], str]]] = [
            ("p50", lambda one: _three(one.latency, "s")),
            ("p95 latency", lambda one: _three(one.latency_p95, "s")),
            ("payload", lambda one: _count(one.payload, "B")),
            ("energy", lambda one: _count(one.energy, "J")),
            ("memory", lambda one: _count(one.memory, "B")),
            ("params", lambda one: _count(one.edge_parameters, "")),
        ]
        if all(one.energy is None for one in every):
            del columns[3]
        elif width < _ROOMY + 20:
            del columns[4:]
        if all(one.latency is None for one in every):
            columns[:2] = [("edge time", lambda one: _three(one.edge_seconds, "s"))]
        if width < _ROOMY:
            spared = ("p50", "memory", "params")
            columns = [column for column in columns if column[0] not in spared]
        title = f"{self.records.manifest['model']['name']}: {_number(self.selection)} candidates"
        table = Table(box=box.SIMPLE_HEAD, title=title, pad_edge=False, caption=_CAPTION)
        longest = max((len(self.short(one)) for one in every), default=0)
        least = min(longest, _WIDEST) if width >= _ROOMY else None
        table.add_column("cut", overflow="fold", min_width=least)
        table.add_column("L", justify="right", no_wrap=True)
        table.add_column(self.records.utility, justify="right")
        for heading, _ in columns:
            table.add_column(heading, justify="right")
        table.add_column("", overflow="fold")
        for state, one, why in self.rows():
            table.add_row(
                self.short(one),
                f"{one.leakage.value:.3f} to {one.leakage.high:.3f}",
                "" if one.accuracy is None else f"{one.accuracy.low:.3f}",
                *(read(one) for _, read in columns),
                why,
                style=_MARKS[state],
            )
        return table

    def _regrets(self) -> Table:
        """What each candidate loses in each scenario against the best choice there."""
        names = list(self.selection.regrets[0].by_scenario)
        table = Table(
            box=box.SIMPLE_HEAD,
            title="Regret: what is lost against the best choice of each scenario",
            caption="-: does not fit there; the table above shows each candidate at its worst",
            pad_edge=False,
        )
        table.add_column("cut", overflow="fold")
        for name in (*names, "worst"):
            table.add_column(name, justify="right", overflow="fold")
        for one in self.selection.regrets[: 2 * _SHOWN]:
            lost = [one.by_scenario[name] for name in names]
            table.add_row(
                self.short(one.candidate),
                *("-" if value is None else f"{value:.3f}" for value in lost),
                "-" if math.isinf(one.worst) else f"{one.worst:.3f}",
            )
        return table

    def lines(self) -> Iterator[str]:
        """The sentences below the table."""
        selection, chosen = self.selection, self.selection.chosen
        for run in self.runs:
            yield from (f"ALARM: {alarm}" for alarm in run.alarms)
            if not run.complete:
                which = "the run" if len(self.runs) == 1 else str(run.path)
                yield f"Note: {which} did not reach its end; run its command again to add the rest."
        timed = any(one.latency is not None for _, one, _ in self.rows())
        if timed and not all(
            "edge_p95" in cut for run in self.runs for cut in run.manifest["cuts"]
        ):
            yield "Note: the run holds median times only; they stand in for 95th percentiles."
        if chosen is not None:
            yield (
                f"Chosen: {chosen.label}, by {self._rule()}. L = {_plain(chosen.leakage)} to "
                f"{chosen.attack}, the best attack found there; not a limit."
            )
            if chosen.bound is not None and chosen.bound.is_bound and chosen.bound.value > 0:
                yield (
                    f"BOUNDED: no attacker gets below mse {chosen.bound.value:.3g} there, at "
                    f"confidence {shown_level(chosen.bound.level)}."
                )
            knee = self.knee()
            if knee is not None and knee != chosen:
                yield f"The front bends at {knee.label}, its knee between leakage and time."
            yield from self._second(chosen)
        else:
            yield "Nothing fits."
            yield from self._relaxations()
        ahead = [
            one
            for one in sorted(selection.unproven, key=_leakage)
            if chosen is None or one.leakage.high < chosen.leakage.high
        ]
        if ahead:
            names = ", ".join(f"{one.label} ({_methods(one.missing)})" for one in ahead[:_SHOWN])
            more = f" and {len(ahead) - _SHOWN} more" if len(ahead) > _SHOWN else ""
            yield (
                f"Finalists that did not meet every attack, never chosen before they do: {names}"
                f"{more}. A larger budget adds them to the run: splitveil audit "
                f"{self.records.path / 'splitveil.toml'} --budget 30m --out {self.records.path}"
            )
        attacked = {one.cut for _, one, _ in self.rows()}
        untried = [name for cut, name in self.records.cuts.items() if cut not in attacked]
        if untried:
            yield f"Not considered, since no attack has ended there: {', '.join(untried)}."
        if chosen is not None:
            yield from (one.sentence(chosen) for one in self.hangs)
            yield from self._hanging(chosen)

    def _hanging(self, chosen: Candidate) -> Iterator[str]:
        """Which attacks decide the choice."""
        deciding = [one.attack for one in self.hangs if one.changes(chosen)]
        methods = {name for run in self.runs for name in run.methods}
        strong = sorted(methods - CHEAP)
        if len(strong) == 1:
            yield f"The choice hangs on {strong[0]}, the only attack beyond the cheap ones."
        elif deciding:
            yield f"The choice hangs on {' and '.join(deciding)}."
        elif self.hangs:
            yield "No single attack decides the choice."

    def _rule(self) -> str:
        if not self.selection.regrets:
            return str(self.prefer)
        return (
            f"least worst regret over {len(self.selection.regrets[0].by_scenario)} scenarios, and "
            f"among equals by {self.prefer}"
        )

    def _second(self, chosen: Candidate) -> Iterator[str]:
        if self.second is None:
            reason = self.trouble or "left out by --no-reaudit"
            yield (
                f"Not audited again ({reason}): the least of {_number(self.selection)} measured "
                "numbers flatters itself."
            )
            return
        found = self.second.candidate
        yield (
            f"Audited again on {self.second.images}, seed {self.second.seed}: "
            f"L = {_plain(found.leakage)} to {method_name(found.attack)}; "
            f"at selection {_plain(chosen.leakage)}. "
            "Quote the new figure: the old one was chosen for being small."
        )
        if not self.second.untouched:
            yield (
                "The new figure shows the luck of seeds and decoders, not that of these images: "
                "more images would."
            )
        if found.accuracy is not None and chosen.accuracy is not None:
            now, then = _plain(found.accuracy), _plain(chosen.accuracy)
            yield f"Accuracy there: {now}; at selection {then}."
        limits = self.selection.limits
        if limits.max_leakage is not None and found.leakage.high > limits.max_leakage:
            yield f"The new figure breaks {option('max_leakage')} {limits.max_leakage:g}."
        accuracy = found.accuracy
        if limits.min_accuracy is not None and (
            accuracy is None or accuracy.low < limits.min_accuracy
        ):
            yield f"The new accuracy breaks {option('min_accuracy')} {limits.min_accuracy:g}."
        if limits.min_bound is not None and proved_error(found) < limits.min_bound:
            yield (
                f"The error proved there, {proved_error(found):.3g}, breaks {option('min_bound')} "
                f"{limits.min_bound:g}."
            )
        if found.missing:
            yield (
                f"Inconclusive: not met in the new audit: {_methods(found.missing)}; the same "
                "command goes on with it."
            )
        yield from (f"ALARM: {alarm}" for alarm in self.second.alarms)

    def _relaxations(self) -> Iterator[str]:
        found = self.selection.relaxations
        for one in found[:_SHOWN]:
            leakage = one.candidate.leakage.high
            yield f"  fits with {one}: {one.candidate.label}, L up to {leakage:.3g}"
        if len(found) > _SHOWN:
            yield f"  and {len(found) - _SHOWN} ways more (--json lists all)"
        if not found:
            yield "No candidate met every attack yet, so no limit is to blame."


def _leakage(one: Candidate) -> tuple[float, str, str]:
    return one.leakage.high, one.cut, one.release


def _methods(recipes: tuple[str, ...]) -> str:
    return ", ".join(method_name(recipe) for recipe in recipes)


def _number(selection: Selection) -> int:
    return len(selection.fitting) + len(selection.unproven) + len(selection.failing)


def _plain(quantity: Quantity) -> str:
    return f"{quantity.value:.3g} [{quantity.low:.3g}, {quantity.high:.3g}]"


def _three(quantity: Quantity | None, unit: str) -> str:
    return "" if quantity is None else written(float(f"{quantity.high:.3g}"), unit)


def _count(value: float | int | None, unit: str) -> str:
    return "" if value is None else written(float(f"{value:.3g}"), unit)
