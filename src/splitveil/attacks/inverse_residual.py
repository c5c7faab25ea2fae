"""A decoder that mirrors a residual network, block by block."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import nn

from splitveil.attacks.inverse_network import InverseNetwork
from splitveil.attacks.small_decoder import check_images
from splitveil.errors import BadPlan
from splitveil.nets.ends import Ends
from splitveil.nets.representation import REPRESENTATIONS
from splitveil.nets.staged_inverter import ResidualStage, StagedInverter


@dataclass(frozen=True, kw_only=True)
class InverseResidual(InverseNetwork):
    """Transposed residual units, `depth` a stage, of which the first doubles the grid.

    Branch: group normalisation, 3 x 3 transposed convolution, PReLU, 4 x 4 transposed convolution
    of stride 2, group normalisation; shortcut: transposed convolution and group normalisation. With
    a `representation` other than "plain" the features are enhanced first, as in
    `EnhancedRepresentation`: both enhancements together.

    Knowledge: pairs, or one query an auxiliary image, at most `samples`, and one more with
    `flips`. Cost: the ridges, then two to four times that of `SmallDecoder`. Image targets only.
    """

    reference: ClassVar[str] = "inverse residual attack on the golden partition zone"

    width: int = 16
    depth: int = 2
    representation: str = "plain"

    def __post_init__(self) -> None:
        if self.width < 8 or self.width % 8 or self.depth < 1:
            raise BadPlan(f"width must be a multiple of 8 and depth at least 1: {self}")
        if self.representation not in REPRESENTATIONS:
            known = ", ".join(REPRESENTATIONS)
            raise BadPlan(f"representation must be one of {known}, got {self.representation!r}")
        InverseNetwork.__post_init__(self)

    def network(self, ends: Ends) -> nn.Module:
        check_images(self, ends)
        return StagedInverter(
            ends,
            width=self.width,
            stage=partial(ResidualStage, depth=self.depth),
            representation=self.representation,
        )
