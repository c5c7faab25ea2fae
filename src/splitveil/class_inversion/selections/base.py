"""Which of the images found for a class are reported."""

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Float, Int64
from torch import Tensor

from splitveil.class_inversion.access import Level
from splitveil.class_inversion.objective import Problem
from splitveil.rng import Rng
from splitveil.shapes import Labels


class Selection(ABC):
    """Settings of a choice among candidates."""

    level: ClassVar[Level]

    @abstractmethod
    def pick(
        self, images: Float[Tensor, "n m c h w"], problem: Problem, labels: Labels, rng: Rng
    ) -> Int64[Tensor, "n kept"]:
        """Positions among the m candidates of each class, best first.

        Raises:
            KnowledgeMissing: if access is below `level`.
            BudgetExceeded: if the queries run out.
        """
