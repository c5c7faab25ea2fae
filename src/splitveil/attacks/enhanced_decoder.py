"""A decoder whose stages weigh what they pass on."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from splitveil.attacks.inverse_network import InverseNetwork
from splitveil.attacks.small_decoder import check_images
from splitveil.errors import BadPlan
from splitveil.nets.ends import Ends
from splitveil.nets.stage_attention import AttentiveStage
from splitveil.nets.staged_inverter import StagedInverter


@dataclass(frozen=True, kw_only=True)
class EnhancedDecoder(InverseNetwork):
    """`SmallDecoder` with a gate after every stage, weak where coarse and stronger where fine.

    From the coarsest: gates by a 5 x 5 depthwise convolution; the same with squeeze and excitation;
    a 7 x 7 depthwise convolution; depthwise convolutions of three sizes, fused. Where fewer stages
    lead to the image, the coarse ones are left out.

    Knowledge: pairs, or one query an auxiliary image, at most `samples`, and one more with
    `flips`. Cost: that of `SmallDecoder` and 100 to 400 operations a value of every stage, each
    epoch. Image targets only.
    """

    reference: ClassVar[str] = "decoder-enhanced attack on the golden partition zone"

    width: int = 16

    def __post_init__(self) -> None:
        if self.width < 8 or self.width % 8:
            raise BadPlan(f"width must be a positive multiple of 8, got {self.width}")
        InverseNetwork.__post_init__(self)

    def network(self, ends: Ends) -> nn.Module:
        check_images(self, ends)
        return StagedInverter(ends, width=self.width, stage=AttentiveStage)
