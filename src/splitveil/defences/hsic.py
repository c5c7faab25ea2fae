"""Features that depend on labels and not on images, by the Hilbert-Schmidt criterion."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from splitveil.defences.base import Batch, Component, Part, Setting, written
from splitveil.errors import BadPlan
from splitveil.estimators.trained_dependence import trained_correlation, trained_kernel

_LEAST = 4


@dataclass(frozen=True)
class HilbertSchmidt(Component):
    """Adds wx · nHSIC(x, z) - wy · nHSIC(z, y) over the batch.

    nHSIC is the correlation of U-centred kernels: Gaussian at the median distance for x and z,
    1 for equal labels for y. It is unbiased at independence and free of the scale of z. The
    published form sums over all hidden layers; this one takes the cut's.

    It misleads where a small nHSIC is read as independence: the kernel at one bandwidth sees coarse
    shape, and detail a decoder uses may be left.

    Raises:
        BadPlan: if wx is not positive or wy negative.
    """

    name: ClassVar[str] = "hsic"
    reference: ClassVar[str] = "Peng et al. 2022 (BiDO); Song et al. 2012 (without bias)"

    wx: float
    wy: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.wx < float("inf") or not 0 <= self.wy < float("inf"):
            raise BadPlan(
                f"hsic: wx must be positive and wy not negative, got {self.wx}, {self.wy}"
            )

    def prepare(self, setting: Setting) -> Part:
        setting.crossing(self)
        return Part(term=self.term)

    def term(self, batch: Batch) -> Tensor:
        """The price of a batch."""
        z = batch.features
        if len(z) < _LEAST:
            return z.sum() * 0
        kernel = trained_kernel(z)
        found = self.wx * trained_correlation(trained_kernel(batch.x.flatten(1)), kernel)
        if self.wy:
            same = (batch.y[:, None] == batch.y).double()
            same = same * (1 - torch.eye(len(z), dtype=same.dtype, device=z.device))
            found = found - self.wy * trained_correlation(kernel, same)
        return found.to(z.dtype)

    def __str__(self) -> str:
        return written(self)
