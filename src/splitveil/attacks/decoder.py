"""A trained inverse network, started from the best linear inversion."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from splitveil.attacks.inverse_network import InverseNetwork
from splitveil.errors import BadPlan
from splitveil.nets.ends import Ends
from splitveil.nets.inverter import ImageInverter, VectorInverter


@dataclass(frozen=True, kw_only=True)
class Decoder(InverseNetwork):
    """A residual network trained to map what was sent, and the linear guesses from it, to x.

    x̂ = x̃ + s · g_θ(z, x̃_1, x̃_2, y), where x̃_1 and x̃_2 are the full and the patch-local ridge,
    x̃ the better of them, and θ minimises the squared error. Training targets' own guesses are
    those of a ridge fitted without them (its leave-one-out formula), or the network would learn to
    mend errors that unseen images do not have. The network starts as no correction, and its
    weights are a running average, kept from the epoch with the least error on a sixth of the
    auxiliary images. Where the attacker holds the release and it is random, every step sees
    fresh noise. It normalises by groups of channels, so no image's answer depends on another's.

    An MSE-trained decoder tends to E[X | z], the best attack in squared error, as data, size and
    training grow; at this effort it is short of that, and its failure proves nothing: see
    `attacks.scaling`. `seconds` caps training by the clock, the ridges come on top; a run it cuts
    short does not repeat bit for bit. The middle of three capacities, between `SmallDecoder` and
    `AttentionDecoder`.

    Knowledge: pairs, or one query an auxiliary image, at most `samples`, and one more with
    `flips`. Cost: both ridges, then about 50 width² (depth + 1) operations for every 16 pixels of
    an image, each epoch.
    """

    reference: ClassVar[str] = "inverse network of Dosovitskiy & Brox 2016, on a ridge residual"

    width: int = 64
    depth: int = 2

    def __post_init__(self) -> None:
        if self.width < 8 or self.width % 8 or self.depth < 1:
            raise BadPlan(f"width must be a multiple of 8 and depth at least 1: {self}")
        InverseNetwork.__post_init__(self)

    def network(self, ends: Ends) -> nn.Module:
        return residual_inverter(ends, width=self.width, depth=self.depth)


def residual_inverter(ends: Ends, *, width: int, depth: int) -> nn.Module:
    """`depth` residual blocks of `width` channels for images, of twice as many values else."""
    if ends.is_image:
        return ImageInverter(
            ends.features,
            ends.target,
            guesses=ends.guesses,
            classes=ends.classes,
            width=width,
            depth=depth,
        )
    return VectorInverter(
        ends.features[0],
        ends.target[0],
        guesses=ends.guesses,
        classes=ends.classes,
        width=2 * width,
        depth=depth,
    )
