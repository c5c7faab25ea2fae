"""Adam on a point: the search of PLG-MI and PPA."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from splitveil.class_inversion import files
from splitveil.class_inversion.access import Level
from splitveil.class_inversion.constraints import Constraint
from splitveil.class_inversion.constraints.base import Latents
from splitveil.class_inversion.objective import Problem
from splitveil.class_inversion.searches.base import (
    Found,
    Memory,
    OnStep,
    Search,
    finite,
    gradient,
)
from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.shapes import Labels, Mask
from splitveil.training.checkpoint import optimiser_tensors, restore_optimiser


@dataclass(frozen=True, kw_only=True)
class Adam(Search):
    """Adam value by value, then into the constraint, if there is one.

    References: Kingma & Ba 2015; Yuan et al., AAAI 2023.

    Raises:
        BadPlan: if steps or rate are not positive, or a decay is not in [0, 1).
    """

    level: ClassVar[Level] = "white"
    steps: int = 600
    rate: float = 0.1
    decays: tuple[float, float] = (0.9, 0.999)
    constraint: Constraint | None = None

    def __post_init__(self) -> None:
        fine = all(0 <= decay < 1 for decay in self.decays)
        if self.steps < 1 or not 0 < self.rate < math.inf or not fine:
            raise BadPlan(f"steps and rate must be positive, decays in [0, 1): got {self}")

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
        kept = memory.recall()
        z = kept.get("z", start).clone().requires_grad_()
        optimiser = torch.optim.Adam([z], lr=self.rate, betas=self.decays)
        restore_optimiser(optimiser, files.part(kept, "optimiser"))
        for step in range(int(kept.get("step", 0)), self.steps):
            z.grad, images = gradient(problem, z, labels, rng.child("step", step).torch())
            on_step(step, images, labels)
            optimiser.step()
            if self.constraint is not None:
                with torch.no_grad():
                    z.copy_(self.constraint.project(z, start))
            if memory.due():
                after = {"step": torch.tensor(step + 1), "z": z.detach()}
                memory.keep(after | files.named("optimiser", optimiser_tensors(optimiser)))
        reached = z.detach()
        finite(reached, self)
        on_step(self.steps, problem.images(reached, labels), labels)
        return Found(reached[:, None], torch.full_like(labels, self.steps))
