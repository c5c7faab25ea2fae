"""A decoder that is shown other views of the features beside them."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from splitveil.attacks.inverse_network import InverseNetwork
from splitveil.attacks.small_decoder import check_images
from splitveil.errors import BadPlan
from splitveil.nets.ends import Ends
from splitveil.nets.representation import REPRESENTATIONS
from splitveil.nets.staged_inverter import PlainStage, StagedInverter


@dataclass(frozen=True, kw_only=True)
class EnhancedRepresentation(InverseNetwork):
    """`SmallDecoder` with the features enhanced before it sees them.

    `representation` is "spectrum", log(1 + |Re F z| + |Im F z|) with mean 0 and variance 1 an image
    beside z; "dropout", a small convolutional view with dropped channels beside z; "bottleneck",
    what is left of z after a quarter of the channels beside z; or "expansion", twice the channels
    by squeeze and excitation. Features are scaled to mean 0 and variance 1 a channel before. No
    view adds information about x (data processing): what is gained, another network could learn.

    Knowledge: pairs, or one query an auxiliary image, at most `samples`, and one more with
    `flips`. Cost: that of `SmallDecoder` and, for c channels on h x w cells, about 20 c² h w
    operations an image and epoch. Image targets only.
    """

    reference: ClassVar[str] = "representation-enhanced attack on the golden partition zone"

    representation: str = "dropout"
    width: int = 16

    def __post_init__(self) -> None:
        if self.width < 8 or self.width % 8:
            raise BadPlan(f"width must be a positive multiple of 8, got {self.width}")
        if self.representation not in REPRESENTATIONS or self.representation == "plain":
            known = ", ".join(name for name in REPRESENTATIONS if name != "plain")
            raise BadPlan(f"representation must be one of {known}, got {self.representation!r}")
        InverseNetwork.__post_init__(self)

    def network(self, ends: Ends) -> nn.Module:
        check_images(self, ends)
        return StagedInverter(
            ends, width=self.width, stage=PlainStage, representation=self.representation
        )
