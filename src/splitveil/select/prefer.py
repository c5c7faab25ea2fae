"""Which candidate of a Pareto front to take: by order of importance, or by weights."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from splitveil.errors import BadPlan, UnknownName
from splitveil.select.candidates import Candidate
from splitveil.select.knee import Knee
from splitveil.select.pareto import OBJECTIVES, cautious


@dataclass(frozen=True, kw_only=True)
class Lexicographic:
    """The least leakage; among those within `tolerance` of it, the least delay.

    Leakage is compared by the upper end of its interval. Without a tolerance, a hundredth of a
    per cent less leakage would outweigh any delay.
    """

    tolerance: float | int = 0.01

    def best(self, front: Sequence[Candidate]) -> Candidate | None:
        """The candidate to take, None of none."""
        least = min((one.leakage.high for one in front), default=math.inf)
        near = [one for one in front if one.leakage.high <= least + self.tolerance]
        return min(near, key=self._order, default=None)

    def losses(self, candidates: Sequence[Candidate]) -> list[float]:
        """What is lost by each candidate: its leakage, upper end."""
        return [one.leakage.high for one in candidates]

    def _order(self, one: Candidate) -> tuple[float | str, ...]:
        leakage, accuracy, delay, payload, energy = cautious(one)
        return delay, leakage, payload, energy, accuracy, one.cut, one.release

    def __str__(self) -> str:
        """The rule in words."""
        return f"the least leakage (upper end); within {self.tolerance:g} of it, the least delay"


@dataclass(frozen=True, kw_only=True)
class Chebyshev:
    """The least largest weighted distance from the ideal: min over a of max over k of w_k d_k(a).

    d_k = (g_k - ideal_k) / (nadir_k - ideal_k), where ideal and nadir are the least and the
    largest of objective k over the front, so each d_k lies in [0, 1]. What is not weighted counts
    only among equals, by the sum of all distances.

    Raises:
        UnknownName: if a weight names no objective.
        BadPlan: if a weight is negative or none is above zero.
    """

    weights: Mapping[str, float | int] = field(
        default_factory=lambda: dict.fromkeys(OBJECTIVES, 1.0)
    )

    def __post_init__(self) -> None:
        for name, value in self.weights.items():
            if name not in OBJECTIVES:
                raise UnknownName("objective to weigh", name, OBJECTIVES)
            if not 0 <= value < math.inf:
                raise BadPlan(f"the weight of {name} must not be negative, got {value}")
        if not any(self.weights.values()):
            raise BadPlan("at least one weight must be above zero, such as leakage=2,latency=1")

    tolerance: ClassVar[float] = 0.0

    def best(self, front: Sequence[Candidate]) -> Candidate | None:
        """The candidate to take, None of none."""
        ends = _ends_of(front)
        found = {one: _distances(one, ends) for one in front}

        def order(one: Candidate) -> tuple[float | str, ...]:
            return self._largest(found[one]), sum(found[one]), one.cut, one.release

        return min(front, key=order, default=None)

    def losses(self, candidates: Sequence[Candidate]) -> list[float]:
        """The largest weighted distance of each, ideal and nadir being those of all of them."""
        ends = _ends_of(candidates)
        return [self._largest(_distances(one, ends)) for one in candidates]

    def _largest(self, distances: Sequence[float]) -> float:
        weights = (self.weights.get(name, 0.0) for name in OBJECTIVES)
        return max(w * d for w, d in zip(weights, distances, strict=True) if w)

    def __str__(self) -> str:
        """The rule in words."""
        text = ", ".join(f"{name} {value:g}" for name, value in self.weights.items() if value)
        return f"the least largest weighted distance from the ideal; weights: {text}"


def _ends_of(front: Sequence[Candidate]) -> list[tuple[float, float] | None]:
    """Ideal and nadir of every objective over a front; None where it was measured nowhere."""
    columns = zip(*map(cautious, front), strict=True)
    finite = [[value for value in column if value < math.inf] for column in columns]
    return [(min(column), max(column)) if column else None for column in finite]


def _distances(one: Candidate, ends: Sequence[tuple[float, float] | None]) -> list[float]:
    return [
        0.0 if end is None else _distance(value, *end)
        for value, end in zip(cautious(one), ends, strict=True)
    ]


def _distance(value: float, ideal: float, nadir: float) -> float:
    """0 at the ideal, 1 at the nadir; 1 too where nothing was measured but elsewhere something."""
    if value == math.inf:
        return 1.0
    return (value - ideal) / (nadir - ideal) if nadir > ideal else 0.0


Preference = Lexicographic | Chebyshev | Knee
"""A rule that takes one candidate of a front."""
