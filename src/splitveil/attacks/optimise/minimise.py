"""What optimisers share: many separate problems, each with its own steps, stopping and outcome."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import torch
from torch import Tensor

Function: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps points (b, d) and the problems (b,) they belong to to values (b,) and gradients (b, d)."""


class Ending(IntEnum):
    """Why a problem was left: what it says of the answer."""

    CONVERGED = 0
    """Nothing more is to be gained within the tolerance."""
    STALLED = 1
    """No step lowers the value: a kink of the head, or the end of its precision."""
    STEPS = 2
    """The steps were used up: more may help."""
    DIVERGED = 3
    """Values or gradients were no longer finite: the answer is the best before that."""


@dataclass(frozen=True, eq=False)
class Box:
    """Bounds low <= x <= high for every value; infinite for none."""

    low: float
    high: float

    def project(self, x: Tensor) -> Tensor:
        """The nearest point of the box."""
        return x.clamp(self.low, self.high)

    def free(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Which values may move against the gradient without leaving the box."""
        return ~(((x <= self.low) & (gradient > 0)) | ((x >= self.high) & (gradient < 0)))


@dataclass(frozen=True, eq=False)
class Minimum:
    """The best point met for each problem.

    `x` (b, d), `value` (b,) float64, `steps` (b,) taken and `ending` (b,), an `Ending` each;
    `marks` holds the points (b, d) after as many steps as each mark asked for said.
    """

    x: Tensor
    value: Tensor
    steps: Tensor
    ending: Tensor
    marks: dict[int, Tensor]

    @staticmethod
    def join(parts: Sequence["Minimum"]) -> "Minimum":
        """One result of several, in their order."""
        return Minimum(
            torch.cat([part.x for part in parts]),
            torch.cat([part.value for part in parts]),
            torch.cat([part.steps for part in parts]),
            torch.cat([part.ending for part in parts]),
            {mark: torch.cat([part.marks[mark] for part in parts]) for mark in parts[0].marks},
        )

    def take(self, index: Tensor) -> "Minimum":
        """The results of some problems only."""
        return Minimum(
            self.x[index],
            self.value[index],
            self.steps[index],
            self.ending[index],
            {mark: x[index] for mark, x in self.marks.items()},
        )


class Optimiser(ABC):
    """Settings of a method that minimises many separate functions side by side."""

    steps: int

    @abstractmethod
    def minimise(
        self, function: Function, start: Tensor, box: Box, *, marks: Sequence[int] = ()
    ) -> Minimum:
        """Minimise problem i from `start` (b, d), row i, within the box.

        No number of one row enters another's: rows that have ended are left out of the batch and
        keep their bits.
        """
