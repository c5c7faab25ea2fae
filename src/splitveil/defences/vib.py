"""A variational bottleneck: what crosses is priced in nats against a standard normal."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from splitveil.defences.base import (
    Batch,
    Component,
    Part,
    Setting,
    Structure,
    TrainedRelease,
    written,
)
from splitveil.defences.noise import clipped, draws
from splitveil.errors import BadPlan
from splitveil.nets.carriers import Gather, Spread, channels_of
from splitveil.release import GaussianNoise
from splitveil.shapes import Features

_START = 0.1


@dataclass(frozen=True)
class VariationalBottleneck(Component):
    """Sends m(x) / s + N(0, I) and adds beta · KL(N(m, s²) || N(0, I)), nats an image.

    m mixes the channels at the cut into `channels` (all, where 0); s is learnt, one a channel,
    and travels with both halves. In the published form s depends on the input, and what is sent has
    no density anybody can state; with s a constant it is a clipped Gaussian, and the KL bounds
    I(x; z) from above. Noise stays on when the network is used.

    It misleads where the rate in training is quoted for the finished device: quote the measures of
    an audit.

    Raises:
        BadPlan: if beta is not positive, or there are more channels than cross.
    """

    name: ClassVar[str] = "vib"
    reference: ClassVar[str] = "Alemi et al. 2017; Wang et al. 2021 (MID)"

    beta: float
    channels: int = 0
    clip: float = 0.99

    def __post_init__(self) -> None:
        if not 0 < self.beta < float("inf") or self.channels < 0:
            raise BadPlan(
                f"vib: beta must be positive and channels not negative, got {self.beta}, "
                f"{self.channels}"
            )
        self.recipe  # noqa: B018 - its settings are checked when it is made

    @property
    def recipe(self) -> GaussianNoise:
        """The release that ships: noise of one, since features come in its units."""
        return GaussianNoise(sigma=1.0, clip=self.clip, scale="absolute")

    def structure(self, setting: Setting) -> Structure:
        shape = setting.shape(self)
        kept = self.channels or channels_of(shape)
        if kept > channels_of(shape):
            raise BadPlan(f"{self}: only {channels_of(shape)} channels cross here: give fewer")
        device, cloud = Spread(shape, kept), Gather(shape, kept)
        nn.init.constant_(device.log_scale, math.log(_START))
        cloud.log_scale = device.log_scale
        return Structure(device=device, cloud=cloud)

    def prepare(self, setting: Setting) -> Part:
        shape = setting.shape(self)
        assert setting.own is not None  # noqa: S101 - `structure` gave it
        spread = setting.own.device
        assert isinstance(spread, Spread)  # noqa: S101 - the same

        def term(batch: Batch) -> Tensor:
            return self.beta * rate(batch.features, spread.log_scale, shape)

        release = TrainedRelease(recipe=self.recipe, send=self.send, gaussian=True)
        return Part(term=term, release=release)

    def send(self, z: Features, generator: torch.Generator) -> tuple[Features, Tensor]:
        """What is sent for a batch, and the noise's standard deviation, 1."""
        centre, offset = clipped(z, self.clip)
        return centre + offset + draws(z, generator), z.new_ones(())

    def __str__(self) -> str:
        return written(self)


def rate(z: Features, log_scale: nn.Parameter | Tensor, shape: tuple[int, ...]) -> Tensor:
    """Mean over images of Σ_j ½ (m_j² + s_j² - 1 - ln s_j²) nats, m = s z."""
    scale = log_scale.exp()
    wide = (
        scale.repeat_interleave(z.shape[1] // len(scale))
        if len(shape) == 3
        else scale.repeat(z.shape[1] // len(scale))
    )
    squared = wide.square()
    return 0.5 * (z.square() * squared + squared - 1 - squared.log()).sum(1).mean()
