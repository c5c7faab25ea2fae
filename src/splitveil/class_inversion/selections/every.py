"""Every candidate, in the order of restarts and draws."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splitveil.class_inversion.access import Level
from splitveil.class_inversion.objective import Problem
from splitveil.class_inversion.selections.base import Selection
from splitveil.rng import Rng
from splitveil.shapes import Labels


@dataclass(frozen=True)
class Every(Selection):
    """Nothing is left out; costs no queries."""

    level: ClassVar[Level] = "label"

    def pick(
        self, images: Float[Tensor, "n m c h w"], problem: Problem, labels: Labels, rng: Rng
    ) -> Int64[Tensor, "n kept"]:
        n, m = images.shape[:2]
        return torch.arange(m, device=labels.device).expand(n, m)
