"""Tensors and a description in one file, replaced whole; nothing is unpickled."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from splitveil.errors import BadPlan
from splitveil.storage import make_folder, write_whole

_KEY = "splitveil"


def write(path: Path, tensors: Mapping[str, Tensor], described: Mapping[str, Any]) -> None:
    """Write a file so that a kill leaves the old one or the new one; for its owner's eyes alone.

    Raises:
        StorageFailed: if it cannot be written.
    """
    content = save(
        {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()},
        {_KEY: json.dumps(described, sort_keys=True)},
    )
    make_folder(path.parent)
    write_whole(path, content)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What a file holds, or None where there is none.

    Raises:
        BadPlan: if it is damaged.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as stored:
            described = json.loads(stored.metadata()[_KEY])
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadPlan(f"{path} is damaged: remove it or choose another folder") from error
    return tensors, described


def part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors under `name/`, without it."""
    return {k.partition("/")[2]: v for k, v in tensors.items() if k.startswith(f"{name}/")}


def named(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under `name/`."""
    return {f"{name}/{key}": value for key, value in tensors.items()}


def digest(*parts: object) -> str:
    """SHA-256, 64 hexadecimal digits, over tensors and the repr of everything else."""
    total = hashlib.sha256()
    for one in parts:
        if isinstance(one, Tensor):
            total.update(repr((tuple(one.shape), one.dtype)).encode())
            total.update(one.detach().cpu().contiguous().numpy().tobytes())
        else:
            total.update(repr(one).encode())
        total.update(b"\x1f")
    return total.hexdigest()
