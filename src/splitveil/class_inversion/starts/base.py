"""Where searches begin."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from splitveil.class_inversion.access import Level
from splitveil.class_inversion.objective import Problem
from splitveil.rng import Rng
from splitveil.shapes import Labels


@dataclass(frozen=True, eq=False)
class Begun:
    """`z` (n, r, d): r restarts for each class; `found` (n,): whether the class has a start."""

    z: Float[Tensor, "n r d"]
    found: Bool[Tensor, " n"]


class Start(ABC):
    """Settings of a way to begin, for all classes at once."""

    level: ClassVar[Level]
    restarts: int

    @abstractmethod
    def draw(self, problem: Problem, labels: Labels, rng: Rng) -> Begun:
        """Latents for the classes `labels` (n,).

        Raises:
            KnowledgeMissing: if access is below `level`.
            BudgetExceeded: if the queries run out.
        """
