"""The candidates that stay of the class under random views: the selection of PPA."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splitveil.class_inversion.access import Level
from splitveil.class_inversion.objective import Problem
from splitveil.class_inversion.selections.base import Selection
from splitveil.class_inversion.views import Views
from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.shapes import Labels

_BATCH = 512


@dataclass(frozen=True, kw_only=True)
class MostConfident(Selection):
    """The `kept` candidates with the largest mean probability of the class over random views.

    `batch` images are asked at once.

    References: Struppek et al., ICML 2022.

    Raises:
        BadPlan: if a number is not positive.
    """

    level: ClassVar[Level] = "score"
    kept: int = 5
    views: Views = field(
        default_factory=lambda: Views(draws=100, crop=(0.5, 0.9), rotate=0.0, flip=0.5, jitter=0.0)
    )
    batch: int = _BATCH

    def __post_init__(self) -> None:
        if self.kept < 1 or self.batch < 1:
            raise BadPlan(f"kept and batch must be positive, got {self}")

    def pick(
        self, images: Float[Tensor, "n m c h w"], problem: Problem, labels: Labels, rng: Rng
    ) -> Int64[Tensor, "n kept"]:
        problem.target.require(self.level, str(self))
        n, m = images.shape[:2]
        if self.kept > m:
            raise BadPlan(f"{self.kept} images a class are to be kept, only {m} were found")
        flat, wanted = images.flatten(0, 1), labels.repeat_interleave(m)
        total = torch.zeros(n * m, device=labels.device)
        for draw in range(self.views.draws):
            shown = self.views(flat, rng.child("view", draw).torch())
            total += torch.cat(
                [
                    problem.confidence(x, y)
                    for x, y in zip(shown.split(self.batch), wanted.split(self.batch), strict=True)
                ]
            )
        return total.view(n, m).topk(self.kept).indices
