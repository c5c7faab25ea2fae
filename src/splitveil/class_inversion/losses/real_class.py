"""What a critic of K classes and one of fakes says: the prior loss of KEDMI."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softplus

from splitveil.class_inversion.losses.base import PriorLoss
from splitveil.shapes import PerImage


@dataclass(frozen=True)
class RealClass(PriorLoss):
    """-ln of the probability of being real: softplus(l) - l, l = ln Σ_k exp(d_k), in nats.

    The critic's K logits d leave out that of the fake class, which is fixed at 0.

    References: Chen et al., ICCV 2021; Salimans et al. 2016.
    """

    outputs: ClassVar[str] = "classes"

    def __call__(self, verdict: Tensor) -> PerImage:
        total = verdict.logsumexp(1)
        return softplus(total) - total
