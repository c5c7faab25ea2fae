"""Components as people write them: `smooth(0.3)`, `ramp(smooth(0.3),0.2,0.6)+imbalance(0.1)`."""

import re
from collections.abc import Iterator

from splitveil.defences.base import Component
from splitveil.defences.imbalance import Imbalance
from splitveil.defences.labels import Coarse, Distilled, LabelDistribution, OneHot, Ramp, Smoothed
from splitveil.defences.logit_decay import LogitDecay
from splitveil.errors import BadPlan, UnknownName

_NUMERIC: dict[str, tuple[type[Component], tuple[str, ...], int]] = {
    # written name: recipe, its numbers in order, how many must be given
    kind.name: (kind, numbers, needed)
    for kind, numbers, needed in (
        (OneHot, (), 0),
        (Smoothed, ("alpha",), 1),
        (Distilled, ("temperature", "share"), 0),
        (Imbalance, ("ratio",), 1),
        (LogitDecay, ("weight",), 1),
    )
}
_NAMES = (*_NUMERIC, Coarse.name, Ramp.name)
_FORM = re.compile(r"([A-Za-z][\w-]*)\s*(?:\((.*)\))?", re.DOTALL)


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
    if match is None:
        raise BadPlan(f"cannot read component '{text}': write it like smooth(0.3)")
    name, inside = match[1], (match[2] or "").strip()
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
        return Ramp(labels, **_numbers(text, arguments[1:], ("start", "end"), 0))
    if name not in _NUMERIC:
        raise UnknownName("component", name, _NAMES)
    kind, settings, needed = _NUMERIC[name]
    return kind(**_numbers(text, arguments, settings, needed))


def _numbers(
    text: str, arguments: list[str], settings: tuple[str, ...], needed: int
) -> dict[str, float]:
    """Numbers by setting, given in order or as setting=value."""
    if not needed <= len(arguments) <= len(settings):
        raise BadPlan(
            f"cannot read '{text}': expected {', '.join(settings) or 'nothing'} in the parentheses"
        )
    found: dict[str, float] = {}
    for place, argument in enumerate(arguments):
        name, equals, value = (part.strip() for part in argument.rpartition("="))
        key = name if equals else settings[place]
        if key not in settings:
            raise UnknownName(f"setting in '{text}'", key, settings)
        if key in found:
            raise BadPlan(f"cannot read '{text}': {key} is given twice")
        try:
            found[key] = float(value)
        except ValueError:
            raise BadPlan(f"cannot read '{text}': {key} needs a number, got '{value}'") from None
    return found


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
