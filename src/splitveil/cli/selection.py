"""What `splitveil select` prints: a table with the reason for each exclusion, or JSON."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from splitveil.audit.verdict import PLAIN
from splitveil.quantities import Quantity
from splitveil.select import Candidate, Records, Selection, Sensitivity, dominates
from splitveil.select.limits import option
from splitveil.select.reading import method_name
from splitveil.select.units import written

if TYPE_CHECKING:
    from splitveil.cli.reaudit import Second

_MARKS = {"chosen": "bold green", "fits": "", "unproven": "yellow", "fails": "dim"}
_SHOWN = 5
_CAPTION = (
    "L: measured, to the upper end of its interval; accuracy: the lower end; times: the upper end"
)


@dataclass(frozen=True, kw_only=True)
class Told:
    """A selection with all that is said of it."""

    records: Records
    selection: Selection
    prefer: str
    hangs: tuple[Sensitivity, ...]
    second: "Second | None"
    trouble: str

    def rows(self) -> Iterator[tuple[str, Candidate, str]]:
        """(state, candidate, reason), the chosen one first, then what fits by leakage."""
        chosen, selection = self.selection.chosen, self.selection
        if chosen is not None:
            yield "chosen", chosen, "chosen"
        for one in sorted(selection.fitting, key=_leakage):
            if one is not chosen:
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
            "complete": self.records.complete,
            "alarms": list(self.records.alarms),
            "utility": self.records.utility,
            "limits": asdict(selection.limits),
            "rule": self.prefer,
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
            "sensitivity": [
                {
                    "without": one.attack,
                    "chosen": None if one.chosen is None else one.chosen.to_json(),
                    "leaks": None if one.leaks is None else one.leaks.leakage.to_json(),
                }
                for one in self.hangs
            ],
        }

    def show(self) -> None:
        """Print the table and what follows from it."""
        console = Console(highlight=False)
        console.print(self._table(console.width))
        for line in self.lines():
            console.print(line, markup=False, soft_wrap=True)

    def _table(self, width: int) -> Table:
        columns: list[tuple[str, Callable[[Candidate], str]]] = [
            ("latency", lambda one: _three(one.latency or one.edge_seconds, "s")),
            ("payload", lambda one: _count(one.payload, "B")),
            ("memory", lambda one: _count(one.memory, "B")),
            ("params", lambda one: _count(one.edge_parameters, "")),
        ]
        if all(one.latency is None for _, one, _ in self.rows()):
            columns[0] = ("edge time", columns[0][1])
        if width < 110:
            del columns[2:]
        title = f"{self.records.manifest['model']['name']}: {_number(self.selection)} candidates"
        table = Table(box=box.SIMPLE_HEAD, title=title, pad_edge=False, caption=_CAPTION)
        table.add_column("cut", overflow="fold")
        table.add_column("L", justify="right")
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

    def lines(self) -> Iterator[str]:
        """The sentences below the table."""
        selection, chosen = self.selection, self.selection.chosen
        yield from (f"ALARM: {alarm}" for alarm in self.records.alarms)
        if not self.records.complete:
            yield "Note: the run did not reach its end; run its command again to add what is left."
        if chosen is not None:
            yield (
                f"Chosen: {chosen.label}, by {self.prefer}. L = {_plain(chosen.leakage)} to "
                f"{chosen.attack}, the best attack found there; not a limit."
            )
            if chosen.bound is not None and chosen.bound.is_bound and chosen.bound.value > 0:
                yield (
                    f"BOUNDED: no attacker gets below mse {chosen.bound.value:.3g} there, at "
                    f"confidence {chosen.bound.level:.2g}."
                )
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


def _count(value: int | None, unit: str) -> str:
    return "" if value is None else written(float(f"{value:.3g}"), unit)
