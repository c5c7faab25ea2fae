"""Gradient descent of a point with Nesterov's momentum: the search of GMI."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch

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
    gradient,
)
from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.shapes import Labels, Mask


@dataclass(frozen=True, kw_only=True)
class Nesterov(Search):
    """v' = m v - rate g, z ← z - m v + (1 + m) v', then into the constraint.

    g is the gradient of a row's own loss; a published rate for the mean over a batch is divided by
    that batch here.

    References: Zhang et al., CVPR 2020.

    Raises:
        BadPlan: if steps or rate are not positive, or the momentum not in [0, 1).
    """

    level: ClassVar[Level] = "white"
    steps: int = 1500
    rate: float = 0.02 / 60
    momentum: float = 0.9
    constraint: Constraint = field(default_factory=Box)

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 < self.rate < math.inf or not 0 <= self.momentum < 1:
            raise BadPlan(f"steps and rate must be positive, momentum in [0, 1): got {self}")

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
        z = kept.get("z", start).clone()
        speed = kept.get("speed", torch.zeros_like(start))
        for step in range(int(kept.get("step", 0)), self.steps):
            slope, images = gradient(problem, z, labels, rng.child("step", step).torch())
            on_step(step, images, labels)
            moved = self.momentum * speed - self.rate * slope
            z = z - self.momentum * speed + (1 + self.momentum) * moved
            z, speed = self.constraint.project(z, start), moved
            if memory.due():
                memory.keep({"step": torch.tensor(step + 1), "z": z, "speed": speed})
        finite(z, self)
        on_step(self.steps, problem.images(z, labels), labels)
        return Found(z[:, None], torch.full_like(labels, self.steps))
