"""The report's tables as data: every cut, every release with a theorem, every trial."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from splitveil.audit.joint import shown_level
from splitveil.quantities import Direction, Quantity
from splitveil.records import Outcome, Task
from splitveil.report.numbers import full, grouped, interval, number, scaled, seconds, shown
from splitveil.report.reading import (
    IDENTITY,
    CutRow,
    Finding,
    Report,
    bound_of,
    method_name,
)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A heading, its unit, and the kind of claim its numbers make."""

    name: str
    unit: str = ""
    kind: str = ""
    numeric: bool = True


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What is shown, a smaller second line, the whole truth as a tooltip, and the sort key."""

    text: str
    small: str = ""
    title: str = ""
    key: str = ""
    css: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under columns; the first column names the row."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def to_csv(self) -> str:
        """The table as CSV, numbers in full, intervals in the same cell after a space."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([" ".join(filter(None, (c.name, c.unit, c.kind))) for c in self.columns])
        for row in self.rows:
            writer.writerow(
                [cell.title or " ".join(f"{cell.text} {cell.small}".split()) for cell in row]
            )
        return file.getvalue()


EMPTY = Cell(text="–", key="")  # noqa: RUF001


def shown_quantity(quantity: Quantity | None, css: str = "") -> Cell:
    """A cell with a number, its interval below it, and the whole of it as a tooltip."""
    if quantity is None:
        return EMPTY
    return Cell(
        text=shown(quantity),
        small=interval(quantity),
        title=full(quantity),
        key=repr(quantity.value) if math.isfinite(quantity.value) else str(quantity.value),
        css=css,
    )


def _time(quantity: Quantity | None) -> Cell:
    if quantity is None:
        return EMPTY
    return Cell(
        text=seconds(quantity.value),
        small=""
        if quantity.low == quantity.high
        else (f"[{seconds(quantity.low)}, {seconds(quantity.high)}]"),
        title=full(quantity),
        key=repr(quantity.value),
    )


def _count(value: int, unit: str = "") -> Cell:
    if not value:
        return Cell(text="0", key="0")
    return Cell(
        text=scaled(value, "") if unit == "FLOP" else grouped(value),
        title=f"{grouped(value)} {unit}".strip(),
        key=str(value),
    )


def sample_sizes(quantities: Sequence[Quantity | None]) -> str:
    """`n = 500`, or the range where sizes differ."""
    sizes = sorted({q.n for q in quantities if q is not None and q.n})
    if not sizes:
        return ""
    return f"n = {sizes[0]}" if len(sizes) == 1 else f"n = {sizes[0]} to {sizes[-1]}"


_CUT_COLUMNS = (
    Column(name="cut", numeric=False),
    Column(name="depth", unit="share of operations"),
    Column(name="leakage L", unit="share", kind="measured"),
    Column(name="here or deeper", unit="leakage L, share", kind="measured"),
    Column(name="worst 1 %", unit="leakage L, share", kind="measured"),
    Column(name="best attack here", numeric=False),
    Column(name="PSNR", unit="dB", kind="measured"),
    Column(name="MSE", unit="per pixel", kind="measured"),
    Column(name="what crosses", unit="shape", numeric=False),
    Column(name="fp32", unit="bytes"),
    Column(name="fp16", unit="bytes"),
    Column(name="uint8", unit="bytes"),
    Column(name="edge parameters"),
    Column(name="edge work", unit="FLOP"),
    Column(name="edge time", kind="measured"),
    Column(name="cloud time", kind="measured"),
    Column(name="R²c", kind="proxy"),
    Column(name="NC1", kind="proxy"),
    Column(name="\N{GREEK SMALL LETTER RHO}", kind="proxy"),
)


def _attack(finding: Finding | None) -> Cell:
    if finding is None or not finding.attack:
        return Cell(text="not attacked", css="quiet")
    return Cell(
        text=method_name(finding.attack),
        small=f"best of {finding.attacks}",
        title=finding.attack,
    )


def _cut_cells(report: Report, cut: CutRow, reach: Finding | None) -> tuple[Cell, ...]:
    best = report.finding(cut.id)
    return (
        Cell(text=cut.name, small=cut.kind, title=f"{cut.name}, {cut.kind}, id {cut.id}"),
        Cell(text=f"{cut.depth:.2f}", key=repr(cut.depth)),
        shown_quantity(best.leakage if best else None),
        shown_quantity(reach.leakage if reach else None, css="best"),
        shown_quantity(best.tail if best else None),
        _attack(best),
        *(shown_quantity(q) for q in ((best.psnr, best.mse) if best else (None, None))),
        Cell(text=cut.shape or "–"),  # noqa: RUF001
        *(_count(cut.bytes[kind], "bytes") for kind in ("fp32", "fp16", "uint8")),
        _count(cut.edge_parameters),
        _count(cut.edge_flops, "FLOP"),
        _time(cut.edge_seconds),
        _time(cut.cloud_seconds),
        *(shown_quantity(cut.spread.get(name)) for name in ("radius", "nc1", "rho")),
    )


def cut_table(report: Report) -> Table:
    """Every cut with its price, its proxies and the best attack on what is always sent."""
    found = [f for f in report.findings if f.release == report.sent]
    reach = {cut.id: best for cut, best in report.reach()}
    size = sample_sizes([f.leakage for f in found])
    note = f" Attack figures: {size} test images, 95 % intervals." if size else ""
    return Table(
        name="cuts",
        caption=f"All {len(report.cuts)} cuts, shallow to deep.{note}",
        columns=_CUT_COLUMNS,
        rows=tuple(_cut_cells(report, cut, reach.get(cut.id)) for cut in report.cuts),
    )


_TRIAL_COLUMNS = (
    Column(name="what", numeric=False),
    Column(name="cut", numeric=False),
    Column(name="release", numeric=False),
    Column(name="leakage L", unit="share", kind="measured"),
    Column(name="PSNR", unit="dB", kind="measured"),
    Column(name="MSE", unit="per pixel", kind="measured"),
    Column(name="validation MSE", unit="per pixel", kind="measured"),
    Column(name="SSIM", kind="measured"),
    Column(name="accuracy", unit="share", kind="measured"),
    Column(name="error no attack beats", unit="MSE per pixel", kind="theorem"),
    Column(name="n"),
    Column(name="time"),
    Column(name="seed"),
    Column(name="status", numeric=False),
)


_TRIAL_NUMBERS = ("leakage", "psnr", "mse", "validation_mse", "ssim", "accuracy")


def _trial_cells(report: Report, outcome: Outcome) -> tuple[Cell, ...]:
    trial, numbers = outcome.trial, outcome.quantities
    depth = {cut.id: cut.depth for cut in report.cuts}.get(trial.cut, -1.0)
    sizes = sorted({q.n for q in numbers.values() if q.n})
    return (
        Cell(
            text=method_name(trial.method),
            small=trial.method,
            title=f"{trial.task}, {trial.method}, trial {trial.id}",
        ),
        Cell(text=report.cut_name(trial.cut), key=repr(depth)),
        Cell(text=trial.release),
        *(shown_quantity(numbers.get(name)) for name in _TRIAL_NUMBERS),
        shown_quantity(bound_of(outcome), css="bound"),
        Cell(text=str(sizes[-1]), key=str(sizes[-1])) if sizes else EMPTY,
        Cell(text=seconds(outcome.seconds), key=repr(outcome.seconds)),
        Cell(text=str(trial.seed), key=str(trial.seed)),
        Cell(text=str(outcome.status), small=outcome.reason, css=f"status-{outcome.status}"),
    )


def trial_table(report: Report) -> Table:
    """Every trial that ended, in the order of depth, failed ones included."""
    depth = {cut.id: cut.depth for cut in report.cuts}
    ordered = sorted(
        report.outcomes,
        key=lambda o: (depth.get(o.trial.cut, -1.0), o.trial.release, o.trial.method, o.trial.seed),
    )
    return Table(
        name="trials",
        caption=f"All {len(ordered)} trials that ended, with 95 % intervals.",
        columns=_TRIAL_COLUMNS,
        rows=tuple(_trial_cells(report, outcome) for outcome in ordered),
    )


def release_table(report: Report) -> Table | None:
    """Releases that change what is sent: what is proved, best attack and accuracy side by side."""
    chosen = [f for f in report.findings if f.release != IDENTITY or f.bound is not None]
    if not chosen:
        return None
    claims = _claims(report)
    rows = []
    for finding in chosen:
        proved = claims.get((finding.cut, finding.release), {})
        rows.append(
            (
                Cell(text=report.cut_name(finding.cut), small=finding.release),
                _least_error(finding.bound),
                shown_quantity(finding.mse),
                _attack(finding),
                shown_quantity(finding.leakage, css="best"),
                _sent(proved),
                shown_quantity(proved.get("named_at_most"), css="bound"),
                shown_quantity(finding.utility or _accuracy(report, finding.cut, finding.release)),
            )
        )
    return Table(
        name="releases",
        caption="What is proved of releases that change what is sent, beside the best attack.",
        columns=(
            Column(name="cut and release", numeric=False),
            Column(name="error no attack beats", unit="MSE per pixel", kind="theorem"),
            Column(name="error of the best attack", unit="MSE per pixel", kind="measured"),
            Column(name="best attack", numeric=False),
            Column(name="leakage L", unit="share", kind="measured"),
            Column(name="information sent", unit="nat an image", kind="theorem"),
            Column(name="named in a gallery", unit="share, at most", kind="theorem"),
            Column(name="accuracy", unit="share", kind="measured"),
        ),
        rows=tuple(rows),
    )


def _least_error(bound: Quantity | None) -> Cell:
    """A bound with the confidence at which it may be quoted below it."""
    if bound is None:
        return Cell(text="none proved", css="quiet")
    level = "theorem" if bound.level == 1 else f"at confidence {shown_level(bound.level)}"
    return replace(shown_quantity(bound, css="bound"), small=level)


def _claims(report: Report) -> dict[tuple[str, str], dict[str, Quantity]]:
    """What claim trials proved, by cut and release."""
    found: dict[tuple[str, str], dict[str, Quantity]] = {}
    for outcome in report.outcomes:
        if outcome.trial.task is Task.BOUND:
            cell = found.setdefault((outcome.trial.cut, outcome.trial.release), {})
            cell |= {name: q for name, q in outcome.quantities.items() if q.is_bound}
    return found


def _sent(proved: Mapping[str, Quantity]) -> Cell:
    """The tightest statements about the information sent, from both sides."""
    nats = [q for n, q in proved.items() if q.unit == "nat per image" and n != "beyond_label"]
    low = max((q for q in nats if q.direction is Direction.LOWER), key=_value, default=None)
    high = min((q for q in nats if q.direction is Direction.UPPER), key=_value, default=None)
    if high is None:
        return EMPTY if low is None else shown_quantity(low, css="bound")
    if low is None:
        return shown_quantity(high, css="bound")
    return Cell(
        text=f"{number(low.value)} to {number(high.value)}",
        title=f"{full(low)}; {full(high)}",
        key=repr(high.value),
        css="bound",
    )


def _value(quantity: Quantity) -> float:
    return quantity.value


def _accuracy(report: Report, cut: str, release: str) -> Quantity | None:
    for outcome in report.outcomes:
        trial = outcome.trial
        if "accuracy" not in outcome.quantities or trial.cut not in (cut, "*"):
            continue
        if trial.release == release and (trial.cut == cut or release == IDENTITY):
            return outcome.quantities["accuracy"]
    return None
