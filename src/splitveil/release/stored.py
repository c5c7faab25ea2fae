"""A fitted release on disk: what a hardened device does, ready for an audit."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from splitveil.errors import BadPlan
from splitveil.naming import is_reference, one_line, resolve
from splitveil.release.base import Release, ReleaseRecipe
from splitveil.shapes import Features

_KEY = "release"


def release_bytes(release: Release) -> bytes:
    """A fitted release as the content of a .safetensors file; nothing in it is pickled.

    Raises:
        BadPlan: if the release is no dataclass of numbers, texts, tensors and releases.
    """
    tensors: dict[str, Tensor] = {}
    described = _plain(release, "", tensors)
    return save(tensors, {_KEY: json.dumps(described)})


def _plain(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        # a copy in memory of its own: safetensors refuses what is shared
        tensors[where] = value.detach().cpu().clone().contiguous()
        return {"tensor": where}
    if isinstance(value, Release) and is_dataclass(value):
        kind = type(value)
        settings = {
            field.name: _plain(getattr(value, field.name), f"{where}/{field.name}", tensors)
            for field in fields(value)
        }
        return {"kind": f"{kind.__module__}:{kind.__qualname__}", "settings": settings}
    if isinstance(value, tuple):
        return {"tuple": [_plain(v, f"{where}/{i}", tensors) for i, v in enumerate(value)]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"value": value}
    raise BadPlan(f"a {type(value).__name__} cannot be stored in a release")


def _rebuilt(found: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    if "tensor" in found:
        return tensors[found["tensor"]]
    if "tuple" in found:
        return tuple(_rebuilt(one, tensors) for one in found["tuple"])
    if "value" in found:
        return found["value"]
    if not is_reference(found["kind"]):
        raise ValueError(f"'{found['kind']}' is no class")
    kind = resolve(found["kind"], what="release", error=BadPlan)
    if not (isinstance(kind, type) and issubclass(kind, Release)):
        raise ValueError(f"'{found['kind']}' is no release")
    return kind(**{name: _rebuilt(one, tensors) for name, one in found["settings"].items()})


@dataclass(frozen=True)
class Stored(ReleaseRecipe):
    """The fitted release in `file`, as `splitveil harden` writes it; features do not change it.

    `digest` is that of the file, so that a trial names what was done and not where it lay.

    Raises:
        BadPlan: if the file is missing, damaged, or not the one of `digest`.
    """

    name: ClassVar[str] = "stored"

    file: str
    digest: str = ""

    def __post_init__(self) -> None:
        path = Path(self.file)
        if not path.is_file():
            return  # said by `fit`: a recipe may be written before its file
        found = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        if self.digest and self.digest != found:
            raise BadPlan(f"{self.file} is not the release it was: it changed since it was named")
        object.__setattr__(self, "digest", found)

    def fit(self, z: Features) -> Release:
        if not Path(self.file).is_file():
            raise BadPlan(f"there is no release {self.file}: check the path, or harden again")
        try:
            with safe_open(self.file, "pt") as stored:
                described = json.loads(stored.metadata()[_KEY])
                tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
            release = _rebuilt(described, tensors)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise BadPlan(
                f"{self.file} is no stored release ({one_line(error)}): harden again"
            ) from error
        assert isinstance(release, Release)  # noqa: S101 - the root is one
        return release

    def __str__(self) -> str:
        return f"{self.name}(file={self.file})"
