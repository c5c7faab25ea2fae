"""What a cut must satisfy, and where a candidate does not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from splitveil.errors import BadPlan
from splitveil.quantities import Direction
from splitveil.select.candidates import Candidate
from splitveil.select.units import written


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Hard limits; None means no limit.

    A candidate passes if the cautious end of its interval does: the upper end of leakage and of
    the 95th percentile of latency, the lower end of accuracy. `max_latency` is in seconds;
    `max_payload` and `max_memory` in bytes and `max_energy` in joules, for one image. `min_bound`
    is the least mean squared error per value that must be proved of every attacker; a candidate
    about which nothing was proved has 0.

    Raises:
        BadPlan: if a limit is negative, or a share above one.
    """

    max_leakage: float | int | None = None
    min_accuracy: float | int | None = None
    max_latency: float | int | None = None
    max_payload: float | int | None = None
    max_memory: float | int | None = None
    max_edge_parameters: float | int | None = None
    max_energy: float | int | None = None
    min_bound: float | int | None = None

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            if not value >= 0:
                raise BadPlan(f"{name} must not be negative, got {value}")
        for name in ("max_leakage", "min_accuracy"):
            if self.given().get(name, 0) > 1:
                raise BadPlan(f"{name} is a share between 0 and 1, got {getattr(self, name)}")

    def given(self) -> dict[str, float | int]:
        """The limits that were set, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """How a limit reads a candidate: `sign` is 1 where less is better, -1 where more is."""

    what: str
    unit: str
    sign: int
    read: Callable[[Candidate], float | int | None]


def proved_error(candidate: Candidate) -> float:
    """The error per value below which no attacker gets; 0 where nothing was proved."""
    bound = candidate.bound
    if bound is None or not bound.is_bound or bound.direction is not Direction.LOWER:
        return 0.0
    return max(0.0, bound.low)


CRITERIA: Mapping[str, Criterion] = {
    "max_leakage": Criterion(
        what="leakage", unit="share", sign=1, read=lambda one: one.leakage.high
    ),
    "min_accuracy": Criterion(
        what="accuracy",
        unit="share",
        sign=-1,
        read=lambda one: None if one.accuracy is None else one.accuracy.low,
    ),
    "max_latency": Criterion(
        what="p95 latency",
        unit="s",
        sign=1,
        read=lambda one: None if one.latency_p95 is None else one.latency_p95.high,
    ),
    "max_payload": Criterion(what="payload", unit="B", sign=1, read=lambda one: one.payload),
    "max_memory": Criterion(what="memory", unit="B", sign=1, read=lambda one: one.memory),
    "max_edge_parameters": Criterion(
        what="edge parameters", unit="", sign=1, read=lambda one: one.edge_parameters
    ),
    "max_energy": Criterion(what="energy", unit="J", sign=1, read=lambda one: one.energy),
    "min_bound": Criterion(what="proved error", unit="share", sign=-1, read=proved_error),
}
"""Every limit of `Limits` by name."""


def option(name: str) -> str:
    """The limit as the command line writes it."""
    return f"--{name.replace('_', '-')}"


@dataclass(frozen=True, kw_only=True)
class Breach:
    """A limit that a candidate does not meet; `value` is None where nothing was measured."""

    name: str
    limit: float | int
    value: float | int | None

    @property
    def excess(self) -> float | int:
        """By how much the limit is missed, in its unit; infinite where nothing was measured."""
        if self.value is None:
            return float("inf")
        return CRITERIA[self.name].sign * (self.value - self.limit)

    def __str__(self) -> str:
        """`latency 24ms > 20ms`."""
        criterion = CRITERIA[self.name]
        if self.value is None:
            return f"{criterion.what} was not measured"
        sign = ">" if criterion.sign > 0 else "<"
        value, limit = (written(v, criterion.unit) for v in (self.value, self.limit))
        return f"{criterion.what} {value} {sign} {limit}"


def breaches(candidate: Candidate, limits: Limits) -> tuple[Breach, ...]:
    """Every limit that the candidate does not meet."""
    found = (
        Breach(name=name, limit=limit, value=CRITERIA[name].read(candidate))
        for name, limit in limits.given().items()
    )
    return tuple(breach for breach in found if breach.excess > 0)
