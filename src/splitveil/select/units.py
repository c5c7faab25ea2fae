"""Numbers with units as people write them, and back: `20ms`, `10Mbit`, `1.5MB`, `88%`."""

import math
import re
from collections.abc import Mapping

from splitveil.errors import BadPlan

_WRITTEN = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\s\d]*)\s*")

_TIME = {"ns": 1e-9, "us": 1e-6, "\N{MICRO SIGN}s": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_DECIMAL = {"": 1e0, "k": 1e3, "M": 1e6, "G": 1e9}
_BYTES = {f"{prefix}B": size for prefix, size in _DECIMAL.items()} | {
    "KB": 1e3,
    "KiB": 2.0**10,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
}
_BITS = {f"{prefix}bit": size for prefix, size in _DECIMAL.items()}
_RATE = (
    {f"{unit}{end}": size for unit, size in _BITS.items() for end in ("", "/s", "ps")}
    | {f"{prefix}bps": size for prefix, size in _DECIMAL.items()}
    | {f"{unit}{end}": 8 * size for unit, size in _BYTES.items() for end in ("/s", "ps")}
)
_ENERGY = {"uJ": 1e-6, "\N{MICRO SIGN}J": 1e-6, "mJ": 1e-3, "J": 1.0, "kJ": 1e3}
_COUNT = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}
_SHARE = {"": 1.0, "%": 0.01}


def seconds(text: str, what: str) -> float:
    """A time in seconds: ns, us, ms, s or min.

    Raises:
        BadPlan: if it is no time, or negative; `what` names it in the message.
    """
    return _read(text, what, _TIME, "a time such as 20ms or 0.5s")


def byte_count(text: str, what: str) -> float:
    """Bytes: B, kB, MB, GB (powers of 1000), KiB, MiB, GiB (powers of 1024).

    Raises:
        BadPlan: if it is no amount of bytes, or negative.
    """
    return _read(text, what, _BYTES, "bytes such as 100kB or 1.5MB (a byte is a capital B)")


def joules(text: str, what: str) -> float:
    """An energy in joules: uJ, mJ, J or kJ.

    Raises:
        BadPlan: if it is no energy, or negative.
    """
    return _read(text, what, _ENERGY, "an energy such as 50mJ or 1.5J")


def bits_per_second(text: str, what: str) -> float:
    """A data rate in bit per second: 10Mbit, 10Mbit/s, 10Mbps, or 1.25MB/s.

    Raises:
        BadPlan: if it is no rate, or not above zero.
    """
    rate = _read(text, what, _RATE, "a data rate such as 10Mbit (a second) or 1.25MB/s")
    if rate == 0:
        raise BadPlan(f"{what} must be above zero, got '{text}'")
    return rate


def count(text: str, what: str) -> float:
    """A number of things: 250000, 250k, 1.5M.

    Raises:
        BadPlan: if it is no number, or negative.
    """
    return _read(text, what, _COUNT, "a number such as 250000 or 1.5M")


def share(text: str, what: str) -> float:
    """A share in [0, 1], or up to 100 with a per cent sign.

    Raises:
        BadPlan: if it is none.
    """
    value = _read(text, what, _SHARE, "a share such as 0.88 or 88%")
    if value > 1:
        raise BadPlan(f"{what}: expected a share such as 0.88 or 88%, got '{text}'")
    return value


def error(text: str, what: str) -> float:
    """A mean squared error per value of pixels in [0, 1].

    Raises:
        BadPlan: if it is no number, or negative.
    """
    return _read(text, what, {"": 1.0}, "a mean squared error such as 0.01")


def _read(text: str, what: str, units: Mapping[str, float], wanted: str) -> float:
    match = _WRITTEN.fullmatch(text)
    size = _size(match[2], units) if match else None
    if match is None or size is None:
        raise BadPlan(f"{what}: expected {wanted}, got '{text}'")
    value = float(match[1]) * size
    if not math.isfinite(value) or value < 0:
        raise BadPlan(f"{what} must be finite and not negative, got '{text}'")
    return value


def _size(unit: str, units: Mapping[str, float]) -> float | None:
    """The unit's size; `mbit` passes for `Mbit`, but b and B stay a bit and a byte."""
    if unit in units or "bit" not in unit.lower():
        return units.get(unit)
    return next((size for known, size in units.items() if known.lower() == unit.lower()), None)


def written(value: float | int, unit: str) -> str:
    """A number in the unit and with the prefix that a person would choose: `12.5 ms`.

    `unit` is s, J, B, bit, share or empty for a count.
    """
    if math.isinf(value):
        return "never" if unit == "s" else "infinite"
    if unit == "share":
        return f"{value:.4g}"
    if unit in ("s", "J"):
        size, name = next((p for p in ((1.0, ""), (1e-3, "m")) if value >= p[0]), (1e-6, "u"))
        return f"{_three(value / size)}{name}{unit}"
    size, prefix = next(
        (p for p in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= p[0]), (1.0, "")
    )
    return f"{_three(value / size)}{prefix}{unit}"


def _three(value: float) -> str:
    """Four significant digits at most, never an exponent."""
    return f"{float(f'{value:.4g}'):.10g}"
