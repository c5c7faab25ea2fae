"""The one place that turns `package.module:Name` into a Python object."""

import importlib
import sys
from pathlib import Path
from typing import Any

from splitveil.errors import AuditError, BadInput, UnknownName


def is_reference(text: str) -> bool:
    """Whether `text` reads as `package.module:Name` rather than a path or a plain name."""
    module, colon, name = text.partition(":")
    return bool(colon) and all(
        part.isidentifier() for part in (*module.split("."), *name.split("."))
    )


def resolve(
    reference: str, *, what: str, error: type[BadInput] = BadInput, folder: Path | None = None
) -> Any:
    """Import `package.module:Name` and return the object it names.

    Importing a module executes it: only name code that you trust. `folder` (by default the working
    directory) goes first on the import path and stays there, as Python does for a script, so that
    what the module imports later is found too.

    Args:
        reference: module path, a colon, and a name or dotted path inside the module.
        what: what the object is for, in the error message.
        error: the class raised where the reference cannot be followed.
        folder: an extra place to import from.

    Raises:
        BadInput: of class `error` if the text is no reference, or the module is missing or fails.
        UnknownName: if the module has no such name; the nearest names are suggested.
    """
    if not is_reference(reference):
        raise error(f"{what} '{reference}' is not of the form package.module:Name")
    path, _, name = reference.partition(":")
    found = _import(path, what=what, error=error, folder=folder or Path.cwd())
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            names = [known for known in dir(found) if not known.startswith("_")]
            raise UnknownName(f"name in {path} for the {what}", part, names) from None
    return found


def _import(path: str, *, what: str, error: type[BadInput], folder: Path) -> Any:
    entry = str(folder.resolve())
    if entry not in sys.path:
        sys.path.insert(0, entry)
    try:
        importlib.invalidate_caches()
        return importlib.import_module(path)
    except AuditError:
        raise
    except ModuleNotFoundError as missing:
        if missing.name and (path == missing.name or path.startswith(f"{missing.name}.")):
            message = f"{what}: no module '{missing.name}' in {folder} or the environment"
        else:
            message = f"{what}: importing '{path}' needs '{missing.name}', which is not installed"
        raise error(message) from missing
    except (Exception, SystemExit) as failure:
        raise error(f"{what}: importing '{path}' failed: {one_line(failure)}") from failure


def one_line(failure: BaseException) -> str:
    """An exception as its class and the first line of its message, at most 300 characters."""
    lines = str(failure).strip().splitlines() or [""]
    text = f"{type(failure).__name__}: {lines[0]}".rstrip(": ")
    return text if len(text) <= 300 else f"{text[:297]}..."
