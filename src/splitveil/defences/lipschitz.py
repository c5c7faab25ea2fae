"""A price on how strongly features answer to small changes of the image."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from splitveil.defences.base import Batch, Component, Part, Setting, written
from splitveil.errors import BadPlan


@dataclass(frozen=True)
class Lipschitz(Component):
    """Adds weight · ln(1 + mean |∂z/∂x|² / (d s²)), d values an image, s² = mean z².

    Where Gaussian noise stands at the cut, s is its standard deviation, and the mean is the Fisher
    information about an input value, clipping apart. One random direction an image estimates it
    without bias, at the cost of a second backward pass through the device's half.

    Published beside an adversary and pruning: join `adversary` and `bottleneck`.

    It misleads without noise: clean features of a small slope are inverted as well as any.

    Raises:
        BadPlan: if the weight is not positive.
    """

    name: ClassVar[str] = "lipschitz"
    reference: ClassVar[str] = "Ding et al. 2024 (PATROL); Hutchinson 1990 (trace)"

    weight: float

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf"):
            raise BadPlan(f"lipschitz: weight must be positive and finite, got {self.weight}")

    def prepare(self, setting: Setting) -> Part:
        setting.crossing(self)
        # slopes are not taken on validation images: only the effect on the answers counts there
        return Part(
            term=self.term, validation=lambda batch: batch.logits.new_zeros(()), slopes=True
        )

    def term(self, batch: Batch) -> Tensor:
        """The price of a batch."""
        z = batch.features
        probe = torch.randn(z.shape, generator=batch.generator, dtype=z.dtype).to(z.device)
        (slope,) = torch.autograd.grad((z * probe).sum(), batch.x, create_graph=True)
        scale = z.square().mean() if batch.noise is None else batch.noise.square()
        least = torch.finfo(z.dtype).tiny
        return self.weight * (slope.square().mean() / scale.clamp_min(least)).log1p()

    def __str__(self) -> str:
        return written(self)


def _nothing(batch: Batch) -> Tensor:
    return batch.logits.new_zeros(())
