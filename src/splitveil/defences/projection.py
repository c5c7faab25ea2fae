"""Fixed projections of what crosses: principal channels, low frequencies."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from splitveil.defences.base import Component, Part, Setting, Structure, written
from splitveil.errors import BadPlan
from splitveil.nets.carriers import channels_of, principal_channels
from splitveil.nets.projections import (
    FromFrequencies,
    LowFrequencies,
    Principal,
    Unproject,
)


@dataclass(frozen=True)
class PrincipalChannels(Component):
    """Sends the leading `channels` principal components of the channels, place by place.

    Directions come from training features before training and stay; the network learns around
    them. No noise, so what they hold is sent exactly.

    It misleads where little variance is read as little information: a decoder does not mind scale.

    Raises:
        BadPlan: if channels is not positive, or no fewer than there are.
    """

    name: ClassVar[str] = "pca"
    reference: ClassVar[str] = "Jolliffe 2002; used as a baseline in split inference"

    channels: int

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise BadPlan(f"pca: channels must be positive, got {self.channels}")

    def structure(self, setting: Setting) -> Structure:
        shape = setting.shape(self)
        whole = channels_of(shape)
        if self.channels >= whole:
            raise BadPlan(f"{self}: {whole} channels cross here and none is left out: give fewer")
        z = setting.features(self).unflatten(1, shape)
        centre, basis = principal_channels(z, self.channels)
        device, cloud = Principal(whole, self.channels), Unproject(whole, self.channels)
        with torch.no_grad():
            for side in (device, cloud):
                side.centre.copy_(centre)
                side.basis.copy_(basis)
        return Structure(device=device, cloud=cloud)

    def prepare(self, setting: Setting) -> Part:
        return Part()

    def __str__(self) -> str:
        return written(self)


@dataclass(frozen=True)
class LowPass(Component):
    """Sends the lowest `kept` x `kept` cosine coefficients of every map.

    It misleads where what is cut away is taken for hidden: neighbouring channels may hold it, and
    coarse pictures are recognised well.

    Raises:
        BadPlan: if no maps cross, or kept is not smaller than they are.
    """

    name: ClassVar[str] = "dct"
    reference: ClassVar[str] = "Ahmed et al. 1974; used as a baseline in split inference"

    kept: int

    def __post_init__(self) -> None:
        if self.kept < 1:
            raise BadPlan(f"dct: kept must be positive, got {self.kept}")

    def structure(self, setting: Setting) -> Structure:
        shape = setting.shape(self)
        if len(shape) != 3 or self.kept >= min(shape[1:]):
            raise BadPlan(f"{self} needs maps larger than {self.kept} pixels, {shape} crosses here")
        _, height, width = shape
        return Structure(
            device=LowFrequencies(height, width, self.kept),
            cloud=FromFrequencies(height, width, self.kept),
        )

    def prepare(self, setting: Setting) -> Part:
        return Part()

    def __str__(self) -> str:
        return written(self)
