"""splitveil report: write the report of a run again."""

from pathlib import Path
from typing import Annotated

import typer

from splitveil.cli import options


def report(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run's folder, finished or interrupted."),
    ],
    *,
    show_images: options.ShowImages = None,
    open_: options.Open = False,
    json_: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """Write the report of a run again.

    From its records alone: one HTML file, with the figures beside it. A run that was interrupted
    gives a report that says what is missing.

    Example: `splitveil report splitveil-audit/vgg-demo --open`
    """
    import json

    from splitveil.audit.store import open_audit
    from splitveil.report import write_report

    open_audit(run)
    path = write_report(run, show_images=show_images)
    if json_:
        typer.echo(json.dumps({"run": str(run), "report": str(path)}))
    else:
        typer.echo(f"Report: {path}")
    if open_:
        open_in_browser(path)


def open_in_browser(path: Path) -> None:
    """Show a file in the person's browser; where there is none, its address has been printed."""
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        typer.echo(f"No browser was found: open {path.resolve()} by hand.", err=True)
