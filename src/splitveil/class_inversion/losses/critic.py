"""What a Wasserstein critic says: the prior loss of GMI."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from splitveil.class_inversion.losses.base import PriorLoss
from splitveil.shapes import PerImage


@dataclass(frozen=True)
class Realness(PriorLoss):
    """-D(x), for a critic of one number an image.

    References: Zhang et al., CVPR 2020.
    """

    outputs: ClassVar[str] = "one"

    def __call__(self, verdict: Tensor) -> PerImage:
        return -verdict
