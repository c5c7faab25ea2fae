"""Fewer channels across the cut."""

from dataclasses import dataclass
from typing import ClassVar

from splitveil.defences.base import Component, Part, Setting, Structure, written
from splitveil.errors import BadPlan
from splitveil.nets.carriers import Narrow, Widen, channels_of, start_at_principal


@dataclass(frozen=True)
class Bottleneck(Component):
    """A 3x3 convolution to `channels` channels on the device, and one back in the cloud.

    Linear maps over tokens and vectors. Both start as the projection onto the leading principal
    channels of training features and back, and are trained with the network.

    It misleads where it is taken for protection by itself: a decoder of few channels can still draw
    the image, and clean features have no bound at all.

    Raises:
        BadPlan: if channels is not positive, or no fewer than there are.
    """

    name: ClassVar[str] = "bottleneck"
    reference: ClassVar[str] = "Eshratifar et al. 2019; Li et al. 2022 (ResSFL)"

    channels: int

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise BadPlan(f"bottleneck: channels must be positive, got {self.channels}")

    def structure(self, setting: Setting) -> Structure:
        shape = setting.shape(self)
        if self.channels >= channels_of(shape):
            raise BadPlan(
                f"{self}: {channels_of(shape)} channels cross here, so nothing is narrowed: give "
                "fewer"
            )
        device, cloud = Narrow(shape, self.channels), Widen(shape, self.channels)
        start_at_principal(device, cloud, setting.features(self).unflatten(1, shape))
        return Structure(device=device, cloud=cloud)

    def prepare(self, setting: Setting) -> Part:
        return Part()

    def __str__(self) -> str:
        return written(self)
