"""Releases as people write them: `gaussian(sigma=0.5)`, `quantise(bits=8)`, `none`."""

import re
from dataclasses import MISSING, fields
from typing import Any, get_args, get_origin, get_type_hints

from splitveil.errors import BadPlan, UnknownName
from splitveil.release.base import ReleaseRecipe
from splitveil.release.chain import Chain
from splitveil.release.dithered import DitheredQuantiser
from splitveil.release.gaussian import GaussianNoise
from splitveil.release.half import HalfPrecision
from splitveil.release.identity import Identity
from splitveil.release.laplace import LaplaceNoise
from splitveil.release.privacy import GaussianPrivacy, LaplacePrivacy
from splitveil.release.shaped import ShapedNoise
from splitveil.release.shuffled import ShuffledTokens
from splitveil.release.sigmoid import Sigmoid
from splitveil.release.softmax import Softmax
from splitveil.release.sparse import Dropout, TopK
from splitveil.release.stored import Stored
from splitveil.release.uniform import UniformQuantiser

_RECIPES: tuple[type[ReleaseRecipe], ...] = (
    DitheredQuantiser,
    Dropout,
    GaussianNoise,
    GaussianPrivacy,
    HalfPrecision,
    Identity,
    LaplaceNoise,
    LaplacePrivacy,
    ShapedNoise,
    ShuffledTokens,
    Sigmoid,
    Softmax,
    Stored,
    TopK,
    UniformQuantiser,
)
_STAGE = re.compile(r"\s*([A-Za-z_][\w-]*)\s*(?:\(([^()]*)\))?\s*")
_JOIN = re.compile(r"\+(?![^()]*\))")


def parse_release(text: str) -> ReleaseRecipe:
    """The recipe behind its written form; stages joined by `+` are applied from left to right.

    Settings are given by name, or as bare values in their order, as in `quantise(4)`.

    Example:
        >>> from splitveil.release import parse_release
        >>> parse_release("gaussian(sigma=0.5)")
        GaussianNoise(sigma=0.5, clip=0.99, scale='rms')
        >>> str(parse_release("gaussian(sigma=0.1) + quantise(bits=8)"))
        'gaussian(sigma=0.1)+quantise(bits=8)'

    Raises:
        UnknownName: for a release or setting that does not exist, with the nearest that do.
        BadPlan: if the text cannot be read or a setting is missing or out of range.
    """
    stages = tuple(_stage(part) for part in _JOIN.split(text))
    return stages[0] if len(stages) == 1 else Chain(stages)


def _stage(text: str) -> ReleaseRecipe:
    match = _STAGE.fullmatch(text)
    if match is None:
        raise BadPlan(f"cannot read release '{text}': write it like gaussian(sigma=0.5)")
    given, settings = match[1], match[2] or ""
    recipe = next((r for r in _RECIPES if given in (r.name, r.__name__)), None)
    if recipe is None:
        raise UnknownName("release", given, (r.name for r in _RECIPES))
    hints = get_type_hints(recipe)
    types = {key: hints[key] for key in _settings(recipe)}
    values: dict[str, Any] = {}
    for place, setting in enumerate(filter(None, (part.strip() for part in settings.split(",")))):
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not equals and place >= len(types):
            raise BadPlan(f"cannot read '{text}': {recipe.name} takes {len(types)} values at most")
        if not equals:
            key, value = list(types)[place], key
        if key not in types:
            raise UnknownName(f"setting of {recipe.name}", key, types)
        if key in values:
            raise BadPlan(f"setting {key} of {recipe.name} is given twice")
        values[key] = _value(value, types[key], f"{recipe.name}({key}=...)")
    missing = [k for k, required in _settings(recipe).items() if required and k not in values]
    if missing:
        raise BadPlan(f"release {recipe.name} needs a value for {', '.join(missing)}")
    return recipe(**values)


def _settings(recipe: type[ReleaseRecipe]) -> dict[str, bool]:
    """Names of settings and whether each must be given."""
    return {f.name: f.default is MISSING for f in fields(recipe)}  # type: ignore[arg-type]


def _value(text: str, kind: Any, where: str) -> Any:
    text = text.strip("'\"")
    if get_origin(kind) is not None:
        if text not in get_args(kind):
            raise UnknownName(f"value of {where}", text, get_args(kind))
        return text
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise BadPlan(f"{where} needs {wanted}, got '{text}'") from None
