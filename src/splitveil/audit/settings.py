"""Settings from TOML and back: the frozen dataclasses are the schema; no torch."""

import math
import tomllib
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tomli_w

from splitveil.errors import BadInput, BadPlan, UnknownName

T = TypeVar("T")


def from_mapping(kind: type[T], data: Mapping[str, Any], *, where: str = "") -> T:
    """Build a frozen dataclass from plain data, nested dataclasses from nested tables.

    Args:
        kind: the dataclass.
        data: its fields by name; what is left out keeps its default.
        where: the table's name, for messages.

    Raises:
        UnknownName: if `data` has a key that is no field, naming the nearest field.
        BadPlan: if a value has the wrong type or the dataclass refuses it.
    """
    if not is_dataclass(kind):
        raise BadPlan(f"{kind} is no dataclass")
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in known:
            raise UnknownName(f"setting in [{where}]" if where else "setting", key, known)
        values[key] = _convert(hints[key], value, f"{where}.{key}" if where else key)
    try:
        return kind(**values)
    except TypeError as error:
        raise BadPlan(f"[{where}] {error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as `hint` wants it; bool is no int, int is a float."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _first_that_fits(arguments, value, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_convert(arguments[0], item, where) for item in value)
    if origin is Literal:
        if value in arguments:
            return value
        raise UnknownName(f"{where} setting", str(value), [str(a) for a in arguments])
    if isinstance(hint, type):
        if is_dataclass(hint) and isinstance(value, Mapping):
            return from_mapping(hint, value, where=where)
        if issubclass(hint, StrEnum) and isinstance(value, str):
            if value not in [str(member) for member in hint]:
                raise UnknownName(f"{where} setting", value, [str(m) for m in hint])
            return hint(value)
        if hint is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, hint) and not (hint in (int, float) and isinstance(value, bool)):
            return value
    raise BadPlan(f"{where}: expected {_name(hint)}, got {value!r}")


def _first_that_fits(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and types.NoneType in options:
        return None
    real = [option for option in options if option is not types.NoneType]
    for option in real[:-1]:
        try:
            return _convert(option, value, where)
        except BadInput:
            continue
    return _convert(real[-1], value, where)


def _name(hint: Any) -> str:
    arguments = get_args(hint)
    if get_origin(hint) is tuple:
        return f"a list of {_name(arguments[0])}"
    return getattr(hint, "__name__", str(hint))


def to_mapping(settings: Any) -> dict[str, Any]:
    """Plain data that `from_mapping` reads back; settings that are None are left out."""
    result: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value is None:
            continue
        if is_dataclass(value):
            result[field.name] = to_mapping(value)
        elif isinstance(value, tuple):
            result[field.name] = list(value)
        else:
            result[field.name] = str(value) if isinstance(value, StrEnum) else value
    return result


def to_toml(settings: Any) -> str:
    """The settings as TOML text; empty tables are left out."""
    return tomli_w.dumps({k: v for k, v in to_mapping(settings).items() if v != {}})


def from_toml(kind: type[T], path: Path) -> T:
    """Read settings from a TOML file.

    Raises:
        BadPlan: if the file is missing, no TOML, or holds a wrong value or unknown key.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadPlan(f"cannot read settings {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadPlan(f"{path} is not TOML: {error}") from error
    return from_mapping(kind, data)


def check_finite(where: str, value: float) -> None:
    """Refuse NaN, which no comparison would catch.

    Raises:
        BadPlan: if `value` is NaN.
    """
    if math.isnan(value):
        raise BadPlan(f"{where}: expected a number, got NaN")
