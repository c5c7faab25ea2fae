"""Components as people write them: `smooth(0.3)`, `ramp(smooth(0.3),0.2,0.6)+imbalance(0.1)`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_args, get_type_hints

from splitveil.defences.adversary import Adversarial
from splitveil.defences.base import Component
from splitveil.defences.bottleneck import Bottleneck
from splitveil.defences.calibrated import Calibrated
from splitveil.defences.conditional_entropy import ConditionalEntropy
from splitveil.defences.conditional_entropy_published import PublishedConditionalEntropy
from splitveil.defences.disco import ChannelDropping
from splitveil.defences.ensembler import Ensembler
from splitveil.defences.expert import Expert
from splitveil.defences.fisher import Fisher
from splitveil.defences.fixed_noise import FixedNoise
from splitveil.defences.freeze import Freeze
from splitveil.defences.fsinfo import FisherShannon
from splitveil.defences.hsic import HilbertSchmidt
from splitveil.defences.imbalance import Imbalance
from splitveil.defences.labels import Coarse, Distilled, LabelDistribution, OneHot, Ramp, Smoothed
from splitveil.defences.lipschitz import Lipschitz
from splitveil.defences.logit_decay import LogitDecay
from splitveil.defences.maxent import MaxEntropy
from splitveil.defences.noise import Noise
from splitveil.defences.nopeek import NoPeek
from splitveil.defences.projection import LowPass, PrincipalChannels
from splitveil.defences.prune import Prune
from splitveil.defences.released import Released
from splitveil.defences.ressfl import ResSFL
from splitveil.defences.shredder import Shredder
from splitveil.defences.sparse import Sparse
from splitveil.defences.tokens import Tokens
from splitveil.defences.utility_noise import UtilityNoise
from splitveil.defences.vib import VariationalBottleneck
from splitveil.errors import BadPlan, UnknownName
from splitveil.naming import resolve
from splitveil.release import parse_release

KINDS: tuple[type[Component], ...] = (
    Adversarial,
    Bottleneck,
    Calibrated,
    ChannelDropping,
    ConditionalEntropy,
    Distilled,
    Ensembler,
    Expert,
    Fisher,
    FisherShannon,
    FixedNoise,
    Freeze,
    HilbertSchmidt,
    Imbalance,
    Lipschitz,
    LogitDecay,
    LowPass,
    MaxEntropy,
    NoPeek,
    Noise,
    OneHot,
    PrincipalChannels,
    Prune,
    PublishedConditionalEntropy,
    ResSFL,
    Shredder,
    Smoothed,
    Sparse,
    Tokens,
    UtilityNoise,
    VariationalBottleneck,
)
_NAMES = (*(kind.name for kind in KINDS), Coarse.name, Ramp.name)
_FORM = re.compile(r"([A-Za-z][\w-]*)\s*(?:\((.*)\)|:\s*([\w.-]+))?", re.DOTALL)
_OTHERS = re.compile(r"([A-Za-z_][\w.]*:[A-Za-z_]\w*)\s*(?:\((.*)\))?", re.DOTALL)


def parse_components(text: str) -> tuple[Component, ...]:
    """The components behind their written form; `+` joins several.

    Example:
        >>> from splitveil.defences import parse_components
        >>> parse_components("smooth(-0.05) + logit-decay(0.01)")
        (Smoothed(alpha=-0.05), LogitDecay(weight=0.01))
        >>> str(parse_components("ramp(smooth(0.3), 0.2, 0.6)")[0])
        'ramp(smooth(0.3),0.2,0.6)'

    Raises:
        UnknownName: for a component or setting that does not exist, with the nearest that do.
        BadPlan: if the text cannot be read or a setting is missing or out of range.
    """
    return tuple(_component(part) for part in _parts(text, "+"))


def _component(text: str) -> Component:
    match = _FORM.fullmatch(text)
    if match is None or (match[3] and match[1] not in _NAMES):
        return _foreign(text)
    name, inside = match[1], (match[2] or match[3] or "").strip()
    if name == Coarse.name:
        groups = [
            tuple(member.strip() for member in group.split(",")) for group in inside.split("|")
        ]
        return Coarse(tuple(tuple(filter(None, group)) for group in groups))
    arguments = list(_parts(inside, ",")) if inside else []
    if name == Ramp.name:
        labels = _component(arguments[0]) if arguments else None
        if not isinstance(labels, LabelDistribution):
            raise BadPlan(
                f"cannot read '{text}': ramp takes a label distribution and two shares of "
                "training, such as ramp(smooth(0.3),0.2,0.6)"
            )
        shares = {name: (float, False) for name in ("start", "end", "reach")}
        return Ramp(labels, **_settings(text, arguments[1:], shares))
    kind = next((kind for kind in KINDS if kind.name == name), None)
    if kind is None:
        return _release(text, name)
    return kind(**_settings(text, arguments, _fields(kind)))


def _release(text: str, name: str) -> Component:
    """A release by its own written form, in place while training."""
    try:
        return Released(parse_release(text))
    except UnknownName as error:
        if "unknown release " in str(error):
            raise UnknownName("component", name, _NAMES) from None
        raise


def _foreign(text: str) -> Component:
    """A component of one's own, `package.module:Name(setting=value)`."""
    match = _OTHERS.fullmatch(text)
    if match is None:
        raise BadPlan(f"cannot read component '{text}': write it like smooth(0.3)")
    kind = resolve(match[1], what="component", error=BadPlan)
    if not (isinstance(kind, type) and issubclass(kind, Component)):
        raise BadPlan(f"{match[1]} is no component: derive it from splitveil.defences.Component")
    arguments = list(_parts(match[2], ",")) if (match[2] or "").strip() else []
    return kind(**_settings(text, arguments, _fields(kind)))


def _fields(kind: type[Component]) -> dict[str, tuple[Any, bool]]:
    """The types of a recipe's settings in order, and whether each must be given."""
    if not is_dataclass(kind):
        return {}
    types = get_type_hints(kind)
    return {field.name: (types[field.name], field.default is MISSING) for field in fields(kind)}


def _settings(
    text: str, arguments: list[str], known: Mapping[str, tuple[Any, bool]]
) -> dict[str, Any]:
    """Values by setting, given in order or as setting=value."""
    needed = sum(must for _, must in known.values())
    if not needed <= len(arguments) <= len(known):
        raise BadPlan(
            f"cannot read '{text}': expected {', '.join(known) or 'nothing'} in the parentheses"
        )
    found: dict[str, Any] = {}
    for place, argument in enumerate(arguments):
        name, equals, value = (part.strip() for part in argument.rpartition("="))
        key = name if equals else list(known)[place]
        if key not in known:
            raise UnknownName(f"setting in '{text}'", key, known)
        if key in found:
            raise BadPlan(f"cannot read '{text}': {key} is given twice")
        found[key] = _value(text, key, value, known[key][0])
    missing = [key for key, (_, must) in known.items() if must and key not in found]
    if missing:
        raise BadPlan(f"cannot read '{text}': {', '.join(missing)} is missing")
    return found


def _value(text: str, key: str, value: str, kind: Any) -> Any:
    choices = get_args(kind)
    if kind is str:
        return value.strip("'\"")
    if choices and all(isinstance(choice, str) for choice in choices):
        if value not in choices:
            raise UnknownName(f"value of {key} in '{text}'", value, choices)
        return value
    try:
        return int(value) if kind is int else float(value)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise BadPlan(f"cannot read '{text}': {key} needs {wanted}, got '{value}'") from None


def _parts(text: str, joint: str) -> Iterator[str]:
    """`text` taken apart at each `joint` outside parentheses."""
    depth, start = 0, 0
    for place, sign in enumerate(f"{text}{joint}"):
        depth += (sign == "(") - (sign == ")")
        if depth < 0 or (place == len(text) and depth):
            raise BadPlan(f"cannot read '{text}': parentheses do not match")
        if sign == joint and depth == 0:
            part = text[start:place].strip()
            if not part:
                raise BadPlan(f"cannot read '{text}': write components like smooth(0.3)")
            yield part
            start = place + 1
