"""Class imbalance: some classes count less."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from splitveil.defences.base import Component, Part, Setting
from splitveil.errors import BadPlan


@dataclass(frozen=True)
class Imbalance(Component):
    """Class c counts ratio^(c / (K - 1)): the first fully, the last `ratio` as much.

    In expectation the loss is that of a long-tailed sample of the images (Cui et al. 2019) without
    dropping any, so the tail's images are still all seen: of a real shortage it shows the effect
    on the label distribution, not that of fewer images. Weights average one over the classes.

    Raises:
        BadPlan: if the ratio is not in (0, 1].
    """

    name: ClassVar[str] = "imbalance"
    reference: ClassVar[str] = "Cui et al. 2019 (exponential profile)"

    ratio: float

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1:
            raise BadPlan(f"imbalance: ratio must lie in (0, 1], got {self.ratio}")

    def prepare(self, setting: Setting) -> Part:
        weights = self.ratio ** torch.linspace(0, 1, setting.classes, dtype=torch.float64)
        weights /= weights.mean()
        return Part(
            weights=lambda batch: weights.to(batch.logits)[batch.y],
            notes=(f"{self}: accuracy counts all images alike.",),
        )

    def __str__(self) -> str:
        return f"{self.name}({self.ratio:g})"
