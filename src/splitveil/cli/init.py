"""splitveil init: write a settings file to edit."""

from pathlib import Path
from typing import Annotated

import typer

from splitveil.cli import options

_TEMPLATE = Path(__file__).with_name("template.toml")


def init(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("splitveil.toml"),
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    traceback: options.Traceback = False,
) -> None:
    """Write a settings file to edit.

    Every setting is in it, explained.

    Example: `splitveil init && splitveil audit splitveil.toml --dry-run`
    """
    from splitveil.errors import BadPlan, StorageFailed

    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(_TEMPLATE.read_text(encoding="utf-8"))
    except FileExistsError as error:
        raise BadPlan(f"{path} exists: name another file, or replace it with --force") from error
    except OSError as error:
        raise StorageFailed(f"cannot write {path}: {error.strerror or error}") from error
    typer.echo(f"Wrote {path}. Edit it, then run: splitveil audit {path}")
