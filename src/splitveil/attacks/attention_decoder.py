"""A trained inverse whose cells look at each other: the largest of the three capacities."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from splitveil.attacks.inverse_network import InverseNetwork
from splitveil.errors import BadPlan
from splitveil.nets.attention_inverter import AttentionInverter
from splitveil.nets.ends import Ends
from splitveil.nets.inverter import VectorInverter


@dataclass(frozen=True, kw_only=True)
class AttentionDecoder(InverseNetwork):
    """Convolutions and self-attention between all cells, trained as `Decoder`.

    For cuts where what a pixel showed may lie anywhere in z: tokens of a transformer, vectors, deep
    maps. Grids finer than 16 x 16 cells are looked at through block averages. Larger nets need more
    auxiliary images to be the stronger attack.

    Knowledge: pairs, or one query an auxiliary image, at most `samples`, and one more with
    `flips`. Cost: the ridges, then about twice that of `Decoder` of the same width and depth.
    """

    reference: ClassVar[str] = "Dosovitskiy & Brox 2016 with attention of Vaswani et al. 2017"

    width: int = 96
    depth: int = 3
    heads: int = 4

    def __post_init__(self) -> None:
        if self.width < 8 or self.width % 8 or self.depth < 1:
            raise BadPlan(f"width must be a multiple of 8 and depth at least 1: {self}")
        if self.heads < 1 or self.width % self.heads:
            raise BadPlan(f"heads must divide width: {self}")
        InverseNetwork.__post_init__(self)

    def network(self, ends: Ends) -> nn.Module:
        if ends.is_image:
            return AttentionInverter(ends, width=self.width, depth=self.depth, heads=self.heads)
        return VectorInverter(
            ends.features[0],
            ends.target[0],
            guesses=ends.guesses,
            classes=ends.classes,
            width=4 * self.width,
            depth=self.depth,
        )
