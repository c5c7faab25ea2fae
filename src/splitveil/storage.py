"""Files written whole or not at all, and refusals to store as one line; no torch."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from splitveil.errors import StorageFailed

PRIVATE = 0o600
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into one line with a remedy.

    Raises:
        StorageFailed: in place of any OSError.
    """
    try:
        yield
    except OSError as error:
        remedy = (
            "free space there or choose another folder, then run the same command to go on"
            if error.errno in _FULL
            else "check the folder and its permissions, or choose another"
        )
        reason = error.strerror or str(error)
        raise StorageFailed(f"cannot store {path}: {reason}; {remedy}") from error


def make_folder(path: Path) -> None:
    """Make a folder, and those on the way to it, where they are missing.

    Raises:
        StorageFailed: if it cannot be made.
    """
    with storing(path):
        path.mkdir(parents=True, exist_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a kill leaves the old one or the new one, never a part.

    Readable by its owner only; the folder must be there.

    Raises:
        StorageFailed: if it cannot be written; nothing of it is left behind.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with storing(path):
        try:
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where folders can be opened at all."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
