"""Latents drawn as the prior has them."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from splitveil.class_inversion.access import Level
from splitveil.class_inversion.objective import Problem
from splitveil.class_inversion.starts.base import Begun, Start
from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.shapes import Labels


@dataclass(frozen=True, kw_only=True)
class Draws(Start):
    """Standard normal latents, others for each class and restart.

    Raises:
        BadPlan: if there are no restarts.
    """

    level: ClassVar[Level] = "label"
    restarts: int = 5

    def __post_init__(self) -> None:
        if self.restarts < 1:
            raise BadPlan(f"restarts must be at least 1, got {self.restarts}")

    def draw(self, problem: Problem, labels: Labels, rng: Rng) -> Begun:
        z = problem.prior.draw(len(labels) * self.restarts, rng.torch()).to(labels.device)
        return Begun(
            z.unflatten(0, (len(labels), self.restarts)),
            torch.ones_like(labels, dtype=torch.bool),
        )
