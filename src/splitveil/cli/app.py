"""The catalogue of commands."""

from typing import Annotated

import typer

from splitveil.cli.audit import audit
from splitveil.cli.challenge import challenge
from splitveil.cli.compare import compare
from splitveil.cli.cuts import cuts
from splitveil.cli.guard import guard
from splitveil.cli.harden import harden
from splitveil.cli.init import init
from splitveil.cli.invert_classes import invert_classes
from splitveil.cli.profile import profile
from splitveil.cli.report import report
from splitveil.cli.reproduce import reproduce
from splitveil.cli.select import select
from splitveil.cli.vet import vet
from splitveil.cli.zone import zone

app = typer.Typer(
    name="splitveil",
    help="Audit what a network cut in two leaks about its inputs.",
    epilog="Start with `splitveil audit`: it audits a bundled network on bundled images.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
for command in (audit, cuts, report, zone, select, harden, compare, vet, guard):
    app.command()(command)
for later in (invert_classes, profile, reproduce, init):
    app.command()(later)
app.add_typer(challenge)


def _version(wanted: bool | None) -> None:
    if wanted:
        from splitveil import __version__

        typer.echo(f"splitveil {__version__}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool | None,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = None,
) -> None:
    """Audit what a network cut in two leaks about its inputs."""
