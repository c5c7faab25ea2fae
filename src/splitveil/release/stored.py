"""A fitted release on disk: what a hardened device does, ready for an audit."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from splitveil.errors import BadPlan
from splitveil.naming import one_line, resolve
from splitveil.release.base import Release, ReleaseRecipe
from splitveil.shapes import Features

_KEY = "release"
_ROOM = "splitveil.release."


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


def _rebuilt(found: Mapping[str, Any], tensors: Mapping[str, Tensor], own: str) -> Any:
    if "tensor" in found:
        return tensors[found["tensor"]]
    if "tuple" in found:
        return tuple(_rebuilt(one, tensors, own) for one in found["tuple"])
    if "value" in found:
        return found["value"]
    kind = _kind(found["kind"], own)
    settings = found["settings"].items()
    return kind(**{name: _rebuilt(one, tensors, own) for name, one in settings})


def _kind(name: str, own: str) -> type[Release]:
    """The class a file names: one of this room, or `own`; a file never has anything imported."""
    known = {f"{kind.__module__}:{kind.__qualname__}": kind for kind in _ours(Release)}
    if name in known:
        return known[name]
    if not isinstance(name, str):
        raise TypeError("a class has no name")
    if not own or name != own:
        raise BadPlan(
            f"the stored release names '{name:.80}', no release of splitveil, and no file has "
            "anything imported: if you trust that code, add kind= with this name to stored()"
        )
    found = resolve(own, what="release", error=BadPlan)
    if not (isinstance(found, type) and issubclass(found, Release)):
        raise BadPlan(f"'{own}' is no release: derive it from splitveil.release.Release")
    return found


def _ours(base: type[Any]) -> Iterator[type[Release]]:
    for kind in base.__subclasses__():
        if kind.__module__.startswith(_ROOM):
            yield kind
        yield from _ours(kind)


@dataclass(frozen=True, repr=False)
class Stored(ReleaseRecipe):
    """The fitted release in `file`, as `splitveil harden` writes it; features do not change it.

    `digest` is that of the file, by which records name it wherever it lies. `kind` is the class
    `package.module:Name` of a release from outside, which the file may name too: only give it for
    code that you trust.

    Raises:
        BadPlan: if there is neither file nor digest, or the file is damaged or not that of
            `digest`; when fitted or named, if it is missing.
    """

    name: ClassVar[str] = "stored"

    file: str = ""
    digest: str = ""
    kind: str = ""

    def __post_init__(self) -> None:
        if not self.file and not self.digest:
            raise BadPlan("stored needs a file, such as stored(file=release.safetensors)")
        path = Path(self.file)
        if not path.is_file():
            return  # said by `fit`: a recipe may be written before its file
        found = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        if self.digest and self.digest != found:
            raise BadPlan(f"{self.file} is not the release it was: it changed since it was named")
        object.__setattr__(self, "digest", found)

    @property
    def content(self) -> "Stored":
        if not self.digest:
            raise self._missing()
        return Stored(digest=self.digest)

    def _missing(self) -> BadPlan:
        if not self.file:
            return BadPlan(f"of release {self.digest} only the digest is known: give its file")
        return BadPlan(f"there is no release {self.file}: check the path, or harden again")

    def fit(self, z: Features) -> Release:
        if not Path(self.file).is_file():
            raise self._missing()
        try:
            with safe_open(self.file, "pt") as stored:
                described = json.loads(stored.metadata()[_KEY])
                tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
            release = _rebuilt(described, tensors, self.kind)
            if not isinstance(release, Release):
                raise ValueError("it holds no release")
        except (
            SafetensorError,
            AttributeError,
            KeyError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            raise BadPlan(
                f"{self.file} is no stored release ({one_line(error)}): harden again"
            ) from error
        return release

    def __repr__(self) -> str:
        given = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return f"Stored({', '.join(f'{name}={value!r}' for name, value in given if value)})"

    def __str__(self) -> str:
        kind = f",kind={self.kind}" if self.kind else ""
        return f"{self.name}(file={self.file}{kind})"
