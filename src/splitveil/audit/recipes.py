"""Attacks and releases as they print, read back into objects; nothing is evaluated."""

import ast
import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from splitveil import attacks, release
from splitveil.attacks.base import Attack
from splitveil.errors import BadPlan, UnknownName
from splitveil.naming import resolve
from splitveil.release import ReleaseRecipe, parse_release


def _catalogue(room: Any, base: type) -> dict[str, Any]:
    """The concrete recipes a room exports, by name."""
    named = ((name, getattr(room, name)) for name in room.__all__)
    return {
        name: kind
        for name, kind in named
        if isinstance(kind, type) and issubclass(kind, base) and not inspect.isabstract(kind)
    }


def read_attack(text: str) -> tuple[str, Attack]:
    """An attack and its one written form, from "Ridge", "Ridge(samples=100)" or "pkg.mod:Name()".

    Raises:
        UnknownName: if there is no such attack or setting, with the nearest that exist.
        BadPlan: if the text cannot be read or the attack refuses its settings.
    """
    prefix, colon, rest = text.partition(":")
    known = _catalogue(attacks, Attack)
    if colon and "(" not in prefix:
        name = rest.partition("(")[0].strip()
        known = {name: resolve(f"{prefix}:{name}", what="attack", error=BadPlan)}
        text = rest
    else:
        prefix = ""
    attack = _build(_parsed(text, "attack"), known, "attack")
    if not isinstance(attack, Attack):
        raise BadPlan(f"{prefix}:{text} is no attack: derive it from splitveil.attacks.base.Attack")
    return f"{prefix}{colon if prefix else ''}{attack!r}", attack


def read_release(text: str) -> ReleaseRecipe:
    """A release from the form people write, such as `gaussian(sigma=0.5)`, or as it prints.

    Raises:
        UnknownName: if there is no such release or setting, with the nearest that exist.
        BadPlan: if the text cannot be read or the release refuses its settings.
    """
    known = _catalogue(release, ReleaseRecipe)
    if text.partition("(")[0].strip() not in known:
        return parse_release(text)
    recipe = _build(_parsed(text, "release"), known, "release")
    if not isinstance(recipe, ReleaseRecipe):
        raise BadPlan(f"{text} is no release")
    return recipe


def called(text: str) -> str:
    """What trials call a release: its one written form, wherever a file of it lies.

    Raises:
        UnknownName: if there is no such release.
        BadPlan: if it refuses its settings, or its file is missing.
    """
    return repr(read_release(text).content)


def _parsed(text: str, what: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise BadPlan(f"cannot read {what} '{text}': write it like Name(setting=1)") from error


def _build(node: ast.expr, known: Mapping[str, Any], what: str) -> Any:
    """Call the named recipe with literal settings, nested recipes among them."""
    called = node.func if isinstance(node, ast.Call) else node
    if not isinstance(called, ast.Name):
        return _literal(node, known, what)
    if called.id not in known:
        raise UnknownName(what, called.id, known)
    recipe = known[called.id]
    settings = node.keywords if isinstance(node, ast.Call) else []
    if isinstance(node, ast.Call) and node.args:
        raise BadPlan(f"{what} {called.id}: name each setting, as in {called.id}(setting=1)")
    values: dict[str, Any] = {}
    for setting in settings:
        if setting.arg is None:
            raise BadPlan(f"{what} {called.id}: name each setting, as in {called.id}(setting=1)")
        if is_dataclass(recipe):
            names = [field.name for field in fields(recipe)]
            if setting.arg not in names:
                raise UnknownName(f"setting of {called.id}", setting.arg, names)
        values[setting.arg] = _build(setting.value, known, what)
    try:
        return recipe(**values)
    except TypeError as error:
        raise BadPlan(f"{what} {called.id}: {error}") from error


def _literal(node: ast.expr, known: Mapping[str, Any], what: str) -> Any:
    if isinstance(node, ast.Tuple | ast.List):
        items = tuple(_build(item, known, what) for item in node.elts)
        return items if isinstance(node, ast.Tuple) else list(items)
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise BadPlan(
            f"cannot read {what}: settings must be plain numbers, texts or lists, "
            f"got '{ast.unparse(node)}'"
        ) from error
