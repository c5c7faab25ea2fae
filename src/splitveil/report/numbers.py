"""How numbers are written: three digits, intervals beside them, units always."""

import math

from splitveil.quantities import Direction, Quantity

MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: float, digits: int = 3) -> str:
    """Write a number with `digits` significant digits, as a reader would: 0.041, 2.3 x 10^6."""
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if -4 <= exponent < 6:
        decimals = max(0, digits - 1 - exponent)
        return f"{value:.{decimals}f}".replace("-", MINUS)
    mantissa = f"{value / 10.0**exponent:.{digits - 1}f}".replace("-", MINUS)
    return f"{mantissa} {TIMES} 10{str(exponent).translate(_SUPERSCRIPT)}"


def one_sided(quantity: Quantity) -> bool:
    """Whether the number is the end of its own interval: the truth lies on one side of it."""
    return quantity.is_bound and quantity.value in (quantity.low, quantity.high)


def shown(quantity: Quantity) -> str:
    """The value as a reader sees it: `≥ 0.019` for a lower bound."""
    text = number(quantity.value)
    if not quantity.is_bound:
        return text
    return f"{'≥' if quantity.direction is Direction.LOWER else '≤'} {text}"


def interval(quantity: Quantity) -> str:
    """`[0.38, 0.44]`; nothing for an exact number or for one whose interval is one-sided."""
    if quantity.low == quantity.high or one_sided(quantity):
        return ""
    return f"[{number(quantity.low)}, {number(quantity.high)}]"


def full(quantity: Quantity) -> str:
    """Everything about a number in one line: value, interval, unit, kind, level, n."""
    unit = f" {quantity.unit}" if quantity.unit else ""
    ends = interval(quantity)
    level = f", {quantity.level:.0%} interval" if ends else ""
    if one_sided(quantity) and quantity.level < 1:
        level = f", at {quantity.level:.0%}"
    level = level.replace("%", " %")
    count = f", n = {quantity.n}" if quantity.n else ""
    text = f"{shown(quantity)} {ends}".strip()
    return f"{text}{unit} ({quantity.kind}{level}{count})"


def scaled(value: float | int, unit: str) -> str:
    """A count with an SI prefix: 1 250 000 and "FLOP" give 1.25 MFLOP."""
    for size, prefix in _PREFIXES:
        if abs(value) >= size:
            return f"{_trimmed(value / size)} {prefix}{unit}"
    text = f"{value:.0f}" if value == int(value) else number(value)
    return f"{text} {unit}".strip()


def _trimmed(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else number(value)


def grouped(value: int) -> str:
    """A whole number in groups of three, with narrow spaces that do not break."""
    return f"{value:,}".replace(",", "\u202f")


def seconds(value: float | int) -> str:
    """A duration in the unit a person would choose."""
    if value < 1e-3:
        return f"{number(value * 1e6)} µs"
    if value < 1:
        return f"{number(value * 1e3)} ms"
    if value < 120:
        return f"{number(value)} s"
    if value < 7200:
        return f"{value // 60:.0f} min {value % 60:02.0f} s"
    return f"{value // 3600:.0f} h {value % 3600 // 60:02.0f} min"


def finite_json(value: float) -> float | str:
    """The number itself, or the string "inf" or "-inf", which any JSON parser takes."""
    return str(value) if math.isinf(value) else value


def shortened(name: str, limit: int) -> str:
    """The name with its middle cut out if it is longer than `limit`."""
    if len(name) <= limit:
        return name
    tail = (limit - 1) * 2 // 3
    return f"{name[: limit - 1 - tail]}…{name[-tail:]}"
