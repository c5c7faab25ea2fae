"""The way from the device to the cloud, and what it costs in time."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from splitveil.errors import BadPlan
from splitveil.numerics import quantile_between
from splitveil.quantities import Kind, Quantity
from splitveil.select.units import written

MEGABIT = 1e6
_SLOW = 0.05


@dataclass(frozen=True, kw_only=True)
class Link:
    """The way to the cloud: `bandwidth` in bit per second, `round_trip` in seconds.

    `slow` is the rate that the link exceeds for 95 % of the time, from a trace; None where the
    bandwidth is constant. `name` is what a table of several links calls it.

    Raises:
        BadPlan: if the bandwidth is not above zero or the round trip is negative.
    """

    bandwidth: float | int
    round_trip: float | int = 0.0
    slow: Quantity | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not self.bandwidth > 0 or not 0 <= self.round_trip < math.inf:
            raise BadPlan(
                "a link needs a bandwidth above zero and a round trip of zero or more, got "
                f"{self.bandwidth} bit/s and {self.round_trip} s"
            )

    @property
    def label(self) -> str:
        """Its name, or else its bandwidth: `10Mbit`."""
        return self.name or written(self.bandwidth, "bit")

    def latency(self, edge: Quantity, payload: int, cloud: Quantity) -> Quantity:
        """Time of one image: edge + round trip + 8 payload / bandwidth + cloud, in seconds.

        The interval adds the ends of both; by the union bound its level is their levels' sum less
        one. It is that of a median image on an idle link, and silent on queues, retries and
        protocol headers.
        """
        way = (self._way(payload, self.bandwidth),) * 3
        words = ("one image at a time", "an idle link of constant bandwidth")
        return _sum(edge, way, cloud, 1.0, self._samples(edge, cloud), words)

    def latency_p95(self, edge: Quantity, payload: int, cloud: Quantity) -> Quantity:
        """The 95th percentiles of edge, wire and cloud, added: what few images exceed, in seconds.

        That of the whole if all parts are slow at once. If they are not, it is less, save for laws
        of very heavy tails; without anything assumed, no more than 15 % of images exceed it.

        Args:
            edge: 95th percentile of the device's time.
            payload: bytes of one image.
            cloud: 95th percentile of the cloud's time.
        """
        slow = self.slow
        if slow is None:
            way: Sequence[float] = (self._way(payload, self.bandwidth),) * 3
            level = 1.0
            wire = "an idle link of constant bandwidth"
        else:
            rates = (slow.high, slow.value, slow.low)
            way = [self._way(payload, rate) for rate in rates]
            level = slow.level
            wire = f"{slow.n} samples of the bandwidth are independent draws"
        words = ("95th percentiles of the parts, added", "one image at a time", wire)
        return _sum(edge, way, cloud, level, self._samples(edge, cloud), words)

    def _way(self, payload: int, rate: float | int) -> float:
        if not payload:
            return float(self.round_trip)
        return self.round_trip + (8 * payload / rate if rate > 0 else math.inf)

    def _samples(self, *parts: Quantity) -> int:
        return min(part.n for part in (*parts, self.slow) if part is not None)


def _sum(
    edge: Quantity,
    way: Sequence[float],
    cloud: Quantity,
    level: float,
    n: int,
    words: tuple[str, ...],
) -> Quantity:
    low, value, high = way
    return Quantity(
        value=edge.value + value + cloud.value,
        low=edge.low + low + cloud.low,
        high=edge.high + high + cloud.high,
        unit="s",
        kind=Kind.MEASURED,
        n=n,
        level=max(0.0, round(edge.level + cloud.level + level - 2, 4)),
        assumptions=words,
    )


def link_of_trace(rates: Sequence[float], *, round_trip: float | int = 0.0, name: str = "") -> Link:
    """A link from samples of its bandwidth: their median, and their 5th percentile as `slow`.

    Its interval takes samples as independent draws; those that follow one another closely are not,
    and it is too short then. An outage, a rate of zero, makes times infinite.

    Args:
        rates: in bit per second.
        round_trip: in seconds.
        name: of the link.

    Raises:
        BadPlan: with fewer than two rates, one that is negative or not finite, or a median of zero.
    """
    if len(rates) < 2 or not all(0 <= rate < math.inf for rate in rates):
        raise BadPlan(
            f"a trace of the bandwidth needs two or more rates, none of them negative, got "
            f"{len(rates)} rates"
        )
    found = quantile_between(rates, _SLOW)
    slow = Quantity(
        value=found.value,
        low=found.low,
        high=found.high,
        unit="bit/s",
        kind=Kind.MEASURED,
        n=len(rates),
        level=found.level,
        assumptions=("samples are independent draws",),
    )
    return Link(bandwidth=median(rates), round_trip=round_trip, slow=slow, name=name)


def read_trace(path: str | Path) -> tuple[float, ...]:
    """Rates in bit per second from a CSV file of Mbit/s, one sample a line.

    Of several columns, such as time and rate, the last counts. A first line without a number is
    taken for a heading; empty lines and lines that begin with # are skipped.

    Raises:
        BadPlan: naming the line that is no rate, or if the file cannot be read or holds fewer than
            two.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadPlan(f"cannot read the bandwidth trace {path}: {error}") from error
    rates: list[float] = []
    heading = True
    for number, row in enumerate(csv.reader(text.splitlines()), start=1):
        if not row or not (cell := row[-1].strip()) or row[0].lstrip().startswith("#"):
            continue
        rate = _rate(cell)
        if rate is None and not heading:
            raise BadPlan(
                f"{path}, line {number}: expected Mbit/s in the last column, got '{cell}'"
            )
        if rate is not None:
            rates.append(rate)
        heading = False
    if len(rates) < 2:
        raise BadPlan(f"{path} holds {len(rates)} rates: give two or more, in Mbit/s, one a line")
    return tuple(rates)


def _rate(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value * MEGABIT if 0 <= value < math.inf else None
