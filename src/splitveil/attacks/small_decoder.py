"""A small deconvolution network: the least of the trained inverses."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from splitveil.attacks.inverse_network import InverseNetwork
from splitveil.errors import BadInput, BadPlan
from splitveil.nets.ends import Ends
from splitveil.nets.inverter import VectorInverter
from splitveil.nets.staged_inverter import PlainStage, StagedInverter


@dataclass(frozen=True, kw_only=True)
class SmallDecoder(InverseNetwork):
    """Transposed convolutions that double the features' grid until it is the image's.

    Trained as `Decoder`; channels halve from stage to stage down to `width`. With `start="mean"`
    it is the plain decoder that papers compare with, and costs no ridge. What it fails to rebuild
    a larger decoder may.

    Knowledge: pairs, or one query an auxiliary image, at most `samples`, and one more with
    `flips`. Cost: the ridges, then about 100 width² operations a pixel, each epoch.
    """

    reference: ClassVar[str] = "inverse network of Dosovitskiy & Brox 2016"

    width: int = 16

    def __post_init__(self) -> None:
        if self.width < 8 or self.width % 8:
            raise BadPlan(f"width must be a positive multiple of 8, got {self.width}")
        InverseNetwork.__post_init__(self)

    def network(self, ends: Ends) -> nn.Module:
        if ends.is_image:
            return StagedInverter(ends, width=self.width, stage=PlainStage)
        return VectorInverter(
            ends.features[0],
            ends.target[0],
            guesses=ends.guesses,
            classes=ends.classes,
            width=4 * self.width,
            depth=1,
        )


def check_images(attack: InverseNetwork, ends: Ends) -> None:
    """Refuse targets that are no images.

    Raises:
        BadInput: naming their shape.
    """
    if not ends.is_image:
        raise BadInput(
            f"{type(attack).__name__} rebuilds images (channels, rows, columns), got targets of "
            f"shape {ends.target}: use Decoder"
        )
