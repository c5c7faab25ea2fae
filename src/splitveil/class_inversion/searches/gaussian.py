"""A normal distribution of latents for each row, learnt through its draws: the search of KEDMI."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from splitveil.class_inversion import files
from splitveil.class_inversion.access import Level
from splitveil.class_inversion.constraints import Box, Constraint
from splitveil.class_inversion.constraints.base import Latents
from splitveil.class_inversion.objective import Problem
from splitveil.class_inversion.searches.base import (
    Found,
    Memory,
    OnStep,
    Search,
    finite,
)
from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.shapes import Labels, Mask
from splitveil.training.checkpoint import optimiser_tensors, restore_optimiser


@dataclass(frozen=True, kw_only=True)
class Gaussian(Search):
    """z = μ + exp(s / 2) ε, ε standard normal anew at every step; Adam on (μ, s), z constrained.

    μ begins at the start and s = ln variance at 0. Ends in `draws` latents of what was learnt.

    References: Chen et al., ICCV 2021.

    Raises:
        BadPlan: if steps, rate or draws are not positive.
    """

    level: ClassVar[Level] = "white"
    steps: int = 2400
    rate: float = 0.02
    draws: int = 5
    constraint: Constraint = field(default_factory=Box)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.draws < 1 or not 0 < self.rate < math.inf:
            raise BadPlan(f"steps, rate and draws must be positive, got {self}")

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
        mean = kept.get("mean", start).clone().requires_grad_()
        spread = kept.get("spread", torch.zeros_like(start)).clone().requires_grad_()
        optimiser = torch.optim.Adam([mean, spread], lr=self.rate)
        restore_optimiser(optimiser, files.part(kept, "optimiser"))

        def drawn(noise: Tensor) -> Tensor:
            return self.constraint.project(mean + (spread / 2).exp() * noise.to(start), start)

        for step in range(int(kept.get("step", 0)), self.steps):
            generator = rng.child("step", step).torch()
            z = drawn(torch.randn(start.shape, generator=generator))
            losses, images = problem.losses(z, labels, generator)
            mean.grad, spread.grad = torch.autograd.grad(losses.sum(), [mean, spread])
            on_step(step, images.detach(), labels)
            optimiser.step()
            if memory.due():
                learnt = {"mean": mean.detach(), "spread": spread.detach()}
                after = {"step": torch.tensor(step + 1), **learnt}
                memory.keep(after | files.named("optimiser", optimiser_tensors(optimiser)))
        generator = rng.child("draws").torch()
        with torch.no_grad():
            found = torch.stack(
                [drawn(torch.randn(start.shape, generator=generator)) for _ in range(self.draws)], 1
            )
        finite(found.flatten(1), self)
        on_step(self.steps, problem.images(found[:, 0], labels), labels)
        return Found(found, torch.full_like(labels, self.steps))
