"""Channels that a small network drops, image by image, against a decoder."""

from dataclasses import dataclass
from math import ceil
from typing import ClassVar

from splitveil.defences.adversary import Adversarial
from splitveil.defences.base import Component, Part, Setting, Structure, written
from splitveil.errors import BadPlan
from splitveil.nets.carriers import ChannelGate, Through, channels_of


@dataclass(frozen=True)
class ChannelDropping(Component):
    """Zeroes the share `ratio` of channels, chosen for each image, with weight · R² of a decoder.

    The choice is by a small network's scores, which also weigh what is kept and so learn; the
    decoder is that of `adversary`. The published form hides a named attribute; this one the image.

    It misleads as `adversary` does, and the choice of channels is itself sent.

    Raises:
        BadPlan: if ratio is not in (0, 1), weight not positive, or vectors cross.
    """

    name: ClassVar[str] = "disco"
    reference: ClassVar[str] = "Singh et al. 2021 (DISCO)"

    ratio: float
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise BadPlan(f"disco: ratio is a share of channels in (0, 1), got {self.ratio}")
        Adversarial(self.weight)

    def structure(self, setting: Setting) -> Structure:
        shape = setting.shape(self)
        if len(shape) < 2:
            raise BadPlan(f"{self} needs channels over places, a vector crosses here")
        channels = channels_of(shape)
        kept = ceil(channels * (1 - self.ratio))
        if kept == channels:
            raise BadPlan(f"{self}: no channel of {channels} would be dropped: give a higher ratio")
        return Structure(device=ChannelGate(channels, kept), cloud=Through())

    def prepare(self, setting: Setting) -> Part:
        return Adversarial(self.weight).prepare(setting)

    def __str__(self) -> str:
        return written(self)
