"""Numbers that say what they are: value, interval, unit, and what kind of claim they make."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from splitveil.errors import BadInput


class Kind(StrEnum):
    """What stands behind a number. Only the first two may be called a bound."""

    THEOREM = "theorem"
    CONFIDENCE = "theorem at confidence"
    MODEL = "model"
    PROXY = "proxy"
    MEASURED = "measured"


class Direction(StrEnum):
    """On which side of the truth the number lies when its assumptions hold."""

    LOWER = "lower"
    UPPER = "upper"
    ESTIMATE = "estimate"


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One number with its interval, unit, sample size and kind of claim.

    `low` and `high` are the ends of a two-sided interval at `level`; for an exact number they
    equal `value`. `kind` is THEOREM (holds whenever `assumptions` hold), CONFIDENCE (holds with
    probability `level`), MODEL (holds for a declared source only), PROXY (ranks, proves nothing)
    or MEASURED (a sample statistic of what one procedure did, silent on any other procedure).

    Raises:
        BadInput: if the interval does not contain the value, n is negative, or a number is NaN.
    """

    value: float
    low: float
    high: float
    unit: str
    kind: Kind
    n: int
    direction: Direction = Direction.ESTIMATE
    level: float = 0.95
    assumptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(math.isnan(v) for v in (self.value, self.low, self.high)):
            raise BadInput(f"a Quantity in {self.unit} is NaN: the data behind it are not finite")
        if not self.low <= self.value <= self.high:
            raise BadInput(
                f"interval [{self.low}, {self.high}] does not contain the value {self.value}"
            )
        if self.n < 0:
            raise BadInput(f"n must not be negative, got {self.n}")

    @staticmethod
    def exact(
        value: float,
        *,
        unit: str,
        kind: Kind,
        n: int = 0,
        direction: Direction = Direction.ESTIMATE,
        assumptions: tuple[str, ...] = (),
    ) -> "Quantity":
        """A number without sampling error: its interval is the point itself."""
        return Quantity(
            value=value,
            low=value,
            high=value,
            unit=unit,
            kind=kind,
            n=n,
            direction=direction,
            level=1.0,
            assumptions=assumptions,
        )

    @property
    def is_bound(self) -> bool:
        """Whether the word bound may be used of it."""
        return (
            self.kind in (Kind.THEOREM, Kind.CONFIDENCE)
            and self.direction is not Direction.ESTIMATE
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data; infinities become the strings "inf" and "-inf" for any parser."""
        data = asdict(self)
        for key in ("value", "low", "high"):
            if math.isinf(data[key]):
                data[key] = str(data[key])
        return data

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Quantity":
        """The inverse of `to_json`.

        Raises:
            BadInput: if a field is missing, unknown or of the wrong type.
        """
        try:
            return Quantity(
                **{
                    **data,
                    "value": float(data["value"]),
                    "low": float(data["low"]),
                    "high": float(data["high"]),
                    "kind": Kind(data["kind"]),
                    "direction": Direction(data["direction"]),
                    "assumptions": tuple(data["assumptions"]),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"not a Quantity: {error}") from error

    def __str__(self) -> str:
        """`0.41 [0.38, 0.44] share`, with the digits the interval deserves."""
        unit = f" {self.unit}" if self.unit else ""
        if self.low == self.high:
            return f"{self.value:.4g}{unit}"
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]{unit}"
