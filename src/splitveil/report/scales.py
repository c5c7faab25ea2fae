"""From numbers to places on a page: scales and their tick marks."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from matplotlib.ticker import LogLocator, MaxNLocator

from splitveil.report.chart import Axis
from splitveil.report.numbers import MINUS, number, scaled


@dataclass(frozen=True)
class Scale:
    """Maps a number to a coordinate; `ticks` are (value, label) pairs inside the range."""

    place: Callable[[float], float]
    ticks: tuple[tuple[float, str], ...]
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether the value can be drawn."""
        return math.isfinite(value) and self.low <= value <= self.high


def _linear_range(axis: Axis, values: Sequence[float]) -> tuple[float, float]:
    low = axis.low if axis.low is not None else min(values, default=0.0)
    high = axis.high if axis.high is not None else max(values, default=1.0)
    pad = 0.04 * (high - low)
    low = low - pad if axis.low is None else low
    high = high + pad if axis.high is None else high
    if low >= high:
        low, high = low - 0.5 * abs(low or 1), high + 0.5 * abs(high or 1)
    return low, high


def _tick_label(value: float, step: float) -> str:
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    plain = f"{value:.{decimals}f}".replace("-", MINUS)
    return plain if step >= 1e-4 and abs(value) < 1e6 else number(value)


def _linear_ticks(low: float, high: float, count: int) -> tuple[tuple[float, str], ...]:
    values = [
        float(v) for v in MaxNLocator(nbins=count, steps=[1, 2, 5, 10]).tick_values(low, high)
    ]
    step = values[1] - values[0]
    slack = step * 1e-6
    return tuple(
        (v, _tick_label(0.0 if abs(v) < slack else v, step))
        for v in values
        if low - slack <= v <= high + slack
    )


def _log_ticks(
    low: float, high: float, count: int, *, prefixes: bool
) -> tuple[tuple[float, str], ...]:
    inside: list[float] = []
    for subs in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
        found = LogLocator(base=10, subs=subs, numticks=count + 2).tick_values(low, high)
        inside = [float(v) for v in found if low * 0.999 <= v <= high * 1.001]
        if len(inside) >= 3:
            break
    if len(inside) < 2:
        found = MaxNLocator(nbins=3).tick_values(low, high)
        inside = [float(v) for v in found if low <= v <= high]
    inside = inside[:: math.ceil(len(inside) / count)]
    large = prefixes and low >= 1
    for digits in (1, 2, 3):
        labels = [scaled(v, "") if large or v >= 1e4 else number(v, digits) for v in inside]
        if len(set(labels)) == len(labels):
            break
    return tuple(zip(inside, labels, strict=True))


def scale(axis: Axis, values: Iterable[float], start: float, end: float, count: int) -> Scale:
    """Lay an axis from coordinate `start` to `end`, wide enough for all finite `values`.

    A category axis gives each category a slot of equal width and puts it in the middle. A log
    axis leaves out numbers that are not positive.
    """
    if axis.scale == "category":
        slots = max(1, len(axis.categories))
        step = (end - start) / slots
        ticks = tuple((float(i), name) for i, name in enumerate(axis.categories))
        return Scale(lambda v: start + (v + 0.5) * step, ticks, -0.5, slots - 0.5)
    finite = [v for v in values if math.isfinite(v)]
    if axis.scale == "log":
        positive = [v for v in finite if v > 0] or [0.1, 1.0]
        pad = max(1.15, (max(positive) / min(positive)) ** 0.06)
        low, high = min(positive) / pad, max(positive) * pad
        span = math.log(high / low)
        return Scale(
            lambda v: start + (end - start) * math.log(v / low) / span,
            _log_ticks(low, high, count, prefixes=axis.prefixes),
            low,
            high,
        )
    low, high = _linear_range(axis, finite)
    return Scale(
        lambda v: start + (end - start) * (v - low) / (high - low),
        _linear_ticks(low, high, count),
        low,
        high,
    )
