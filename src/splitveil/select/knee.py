"""The knee of a Pareto front: beyond it, giving up one objective buys little of another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from splitveil.errors import BadPlan, UnknownName
from splitveil.select.candidates import Candidate
from splitveil.select.pareto import OBJECTIVES, cautious


@dataclass(frozen=True, kw_only=True)
class Knee:
    """The candidate furthest below the chord of a front in the plane of two objectives.

    Both objectives, cautious ends, are scaled to [0, 1] between the chord's ends: the candidates
    that are best in either. The distance below the chord is (1 - a - b) / sqrt 2 then. Where no
    candidate lies below it there is no knee, and the best in the first objective is taken.

    A matter of shape, not of need: scaling depends on the worst candidates that happen to be on
    the front, so another candidate may move the knee.

    Raises:
        UnknownName: if `between` names no objective.
        BadPlan: if it does not name two.

    References:
        Das 1999, On characterizing the "knee" of the Pareto curve.
    """

    between: tuple[str, str] = ("leakage", "latency")

    def __post_init__(self) -> None:
        for name in self.between:
            if name not in OBJECTIVES:
                raise UnknownName("objective of a knee", name, OBJECTIVES)
        if len(set(self.between)) != 2:
            raise BadPlan(f"a knee lies between two objectives, got {', '.join(self.between)}")

    def below(self, front: Sequence[Candidate]) -> dict[Candidate, float]:
        """Distance of each candidate below the chord; those not measured in both left out."""
        first, second = (OBJECTIVES.index(name) for name in self.between)
        points = {one: (cautious(one)[first], cautious(one)[second]) for one in front}
        points = {one: point for one, point in points.items() if max(point) < math.inf}
        if not points:
            return {}
        left = min(points.values())
        right = min(points.values(), key=lambda point: point[::-1])
        width, height = right[0] - left[0], left[1] - right[1]
        if width <= 0 or height <= 0:
            return dict.fromkeys(points, 0.0)
        return {
            one: (1 - (x - left[0]) / width - (y - right[1]) / height) / math.sqrt(2)
            for one, (x, y) in points.items()
        }

    def find(self, front: Sequence[Candidate]) -> Candidate | None:
        """The knee, None where no candidate lies below the chord."""
        below = self.below(front)
        best = max(below, key=lambda one: (below[one], *self._reversed(one)), default=None)
        return best if best is not None and below[best] > _ROUNDING else None

    def best(self, front: Sequence[Candidate]) -> Candidate | None:
        """The candidate to take, None of none."""
        first = OBJECTIVES.index(self.between[0])
        knee = self.find(front)
        if knee is not None:
            return knee
        return min(front, key=lambda one: (cautious(one)[first], *cautious(one)), default=None)

    def _reversed(self, one: Candidate) -> tuple[float, ...]:
        """Among equally far ones the first objective decides, then all others."""
        first = OBJECTIVES.index(self.between[0])
        return tuple(-value for value in (cautious(one)[first], *cautious(one)))

    def __str__(self) -> str:
        """The rule in words."""
        return f"the knee of the front between {self.between[0]} and {self.between[1]}"


_ROUNDING = 1e-12
