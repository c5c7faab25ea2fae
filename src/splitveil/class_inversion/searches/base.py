"""From where a search begins to where it ends, for all classes and restarts at once."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from splitveil.class_inversion.access import Level
from splitveil.class_inversion.constraints.base import Latents
from splitveil.class_inversion.objective import Problem
from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.shapes import Labels, Mask

OnStep: TypeAlias = Callable[[int, Tensor, Tensor], None]


@dataclass(frozen=True, eq=False)
class Found:
    """Where a search ended.

    `z` (n, m, d) holds m latents a row: one, or several draws of what was learnt. `steps` (n,) is
    how many steps each row took.
    """

    z: Float[Tensor, "n m d"]
    steps: Tensor


class Memory:
    """Where a search leaves its state, so that a killed one can go on; this one forgets."""

    def recall(self) -> dict[str, Tensor]:
        """The last state that was kept, empty where a search begins."""
        return {}

    def due(self) -> bool:
        """Whether it is time to keep a state."""
        return False

    def keep(self, state: Mapping[str, Tensor]) -> None:
        """Keep a state in place of the last; "step" is the step that comes next."""


class Search(ABC):
    """Settings of a way to search latents. Rows are restarts of classes and do not touch."""

    level: ClassVar[Level]

    @abstractmethod
    def run(
        self,
        problem: Problem,
        start: Latents,
        labels: Labels,
        begun: Mask,
        rng: Rng,
        on_step: OnStep,
        memory: Memory,
    ) -> Found:
        """Search from `start` (n, d) for images of `labels` (n,).

        `begun` (n,) is False where no start was found: a search that needs one leaves these rows
        alone. `on_step(t, images, labels)` is told of the images, detached, as step t finds them,
        and of the last ones. Every step draws from a stream of its own, so that a search which
        goes on from what `memory` recalls ends in the same bits.

        Raises:
            KnowledgeMissing: if access is below `level`.
            BudgetExceeded: if the queries run out.
            BadPlan: if latents stop being finite.
        """


def gradient(
    problem: Problem, z: Latents, labels: Labels, generator: torch.Generator
) -> tuple[Latents, Tensor]:
    """The gradient of each row's loss, and the images it was taken on, detached."""
    point = z.detach().requires_grad_()
    losses, images = problem.losses(point, labels, generator)
    (slope,) = torch.autograd.grad(losses.sum(), point)
    return slope, images.detach()


def finite(z: Latents, who: Search) -> None:
    """Refuse latents that are NaN or infinite.

    Raises:
        BadPlan: naming the search.
    """
    broken: Bool[Tensor, " n"] = ~z.isfinite().all(1)
    if bool(broken.any()):
        raise BadPlan(
            f"{int(broken.sum())} of {len(z)} searches diverged with {who}: lower its rate"
        )
