"""splitveil reproduce: a paper's claims, run again and judged by thresholds set beforehand."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitveil.cli import options

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from splitveil.reproduce.claims import Finding
    from splitveil.reproduce.experiment import Plan
    from splitveil.reproduce.run import Ended, Reproduced

_FOLDER = "splitveil-reproduce"


def reproduce(
    paper: Annotated[
        str,
        typer.Argument(
            metavar="PAPER",
            help=(
                "attacks: their strength; cem: conditional entropy; gpz: Golden Partition Zone; "
                "peel: residual networks undone; tldmi: inversion of training data; vicious: "
                "malicious networks."
            ),
        ),
    ],
    *,
    claims: Annotated[
        str | None,
        typer.Option(metavar="C1,C4,...", help="Answer these claims only.", show_default="all"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where records lie; run again with the same one to go on.",
            show_default="splitveil-reproduce/PAPER",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Repetitions with other random draws.", min=1)] = 3,
    scale: Annotated[
        str,
        typer.Option(
            metavar="small|paper", help="Smallest that answers, or as published: gpz and tldmi."
        ),
    ] = "small",
    jobs: Annotated[int, typer.Option(help="Worker processes; 1 runs all in this one.", min=1)] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print claims, thresholds and costs; run nothing.")
    ] = False,
    json_: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """Run a paper's claims again and judge them by thresholds set beforehand.

    A claim holds if the whole 95 % interval of every number behind it lies on the claimed side of
    its threshold, does not hold if the whole interval of one lies on the other side, and is
    undecided otherwise. attacks, cem and gpz need the installed Fashion-MNIST (`apt-get install
    dataset-fashion-mnist`), attacks and peel scikit-image, peel scikit-learn.

    Example: `splitveil reproduce gpz --dry-run`
    """
    from rich.console import Console

    from splitveil.reproduce.experiment import Scale
    from splitveil.reproduce.run import load_paper
    from splitveil.reproduce.run import reproduce as run

    wanted = [name for part in (claims or "").split(",") if (name := part.strip())]
    plan = load_paper(paper).plan(Scale(name=scale, seeds=seeds), wanted)
    console = Console(highlight=False, markup=False)
    if dry_run:
        _preview(plan, console, json_=json_)
        return
    folder = out or Path(_FOLDER) / paper
    with _Bar() as bar:
        found = run(plan, folder, jobs=jobs, on_arm=bar)
    if json_:
        typer.echo((folder / "findings.json").read_text(encoding="utf-8"), nl=False)
    else:
        _table(found, console)
    if found.failed:
        raise typer.Exit(3)


def _preview(plan: "Plan", console: "Console", *, json_: bool) -> None:
    if json_:
        described = {
            "reproduce": plan.paper.name,
            "scale": {"name": plan.scale.name, "seeds": plan.scale.seeds},
            "minutes": round(plan.minutes, 2),
            "claims": [claim.to_json() for claim in plan.claims],
            "arms": [{"arm": repr(arm), "minutes": arm.minutes} for arm in plan.arms],
        }
        typer.echo(json.dumps(described, indent=1))
        return
    from rich.table import Table

    table = Table("Claim", "Statement", "Holds if", title=plan.paper.title, show_lines=True)
    for claim in plan.claims:
        table.add_row(claim.id, claim.statement, "\n".join(str(c) for c in claim.criteria))
    console.print(table)
    arms = Table("Arm", "CPU minutes", box=None)
    for arm in plan.arms:
        arms.add_row(repr(arm), f"{arm.minutes:.2f}")
    console.print(arms)
    console.print(
        f"{len(plan.claims)} claims, {len(plan.arms)} arms, {plan.minutes:.1f} CPU minutes on one "
        f"core declared, {plan.scale.seeds} seeds, scale {plan.scale.name}"
    )


def _table(found: "Reproduced", console: "Console") -> None:
    from rich.table import Table

    table = Table("Claim", "Verdict", "Measured", "Of", "Claimed", "Found (95 %)")
    for finding in found.findings:
        _rows(table, finding)
    console.print(table)
    for finding in found.findings:
        if finding.note:
            console.print(f"{finding.claim.id}: {finding.note}", soft_wrap=True)
    for outcome in found.failed:
        console.print(f"Failed: {outcome.trial.method}: {outcome.reason}", soft_wrap=True)
    console.print(
        f"{found.spent_minutes:.1f} CPU minutes spent, {found.declared_minutes:.1f} declared. "
        f"Findings: {found.path / 'findings.json'}"
        + "".join(f"\nFigure: {path}" for path in found.pictures),
        soft_wrap=True,
    )


def _rows(table: "Table", finding: "Finding") -> None:
    """One row a number: those that decide the claim first, then those beside them."""
    verdict = str(finding.verdict) if finding.was_run else "not run"
    first = (finding.claim.id, verdict)
    ordered = sorted(finding.quantities, key=lambda one: finding.criterion(one) is None)
    for one in ordered:
        criterion = finding.criterion(one)
        claimed = "" if criterion is None else criterion.range
        table.add_row(*first, one.measured, one.subject, claimed, str(one.quantity))
        first = ("", "")
    if not ordered:
        table.add_row(*first, "", "", "", "")
    table.add_section()


class _Bar:
    """A bar on stderr that moves as arms end; failures as lines."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("Arms", total=None, left="")

    def __enter__(self) -> "_Bar":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, ended: "Ended") -> None:
        """Show one arm's end."""
        from splitveil.records import Status

        left = f"{ended.left:.0f} CPU minutes left"
        if ended.outcome.status is Status.FAILED:
            self._console.print(f"Failed: {ended.arm!r}: {ended.outcome.reason}", style="yellow")
        self._bar.update(self._task, completed=ended.done, total=ended.of, left=left)
        if not self._console.is_terminal:
            spent = float(ended.outcome.details.get("cpu_seconds", 0))
            self._console.print(
                f"{ended.done} of {ended.of}: {ended.arm!r}, {spent:.0f} CPU seconds; {left}"
            )
