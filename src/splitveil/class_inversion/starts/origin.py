"""The latent zero, once for each class."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from splitveil.class_inversion.access import Level
from splitveil.class_inversion.objective import Problem
from splitveil.class_inversion.starts.base import Begun, Start
from splitveil.rng import Rng
from splitveil.shapes import Labels


@dataclass(frozen=True)
class Origin(Start):
    """z = 0: where a search that learns a distribution begins."""

    level: ClassVar[Level] = "label"
    restarts: ClassVar[int] = 1  # type: ignore[misc]

    def draw(self, problem: Problem, labels: Labels, rng: Rng) -> Begun:
        z = torch.zeros(len(labels), 1, problem.prior.latent, device=labels.device)
        return Begun(z, torch.ones_like(labels, dtype=torch.bool))
