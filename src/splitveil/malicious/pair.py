"""A network and the decoder that reads images off what it releases."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from splitveil.attacks.base import Reconstructor
from splitveil.errors import BadInput
from splitveil.malicious.released import Released
from splitveil.nets import evaluating
from splitveil.partition.layout import Layout
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.shapes import Features, Images, Labels, Targets
from splitveil.threat import Observation

_BATCH = 250


@dataclass(frozen=True, kw_only=True)
class Passed:
    """Validation after `number` epochs, and the mean training loss of the last.

    `accuracy`, `mse` (per value) and `similarity` (SSIM) are None where no task is learnt or no
    decoder trained; the epoch of the least `score` is kept.
    """

    number: int
    loss: float
    score: float
    accuracy: float | None = None
    mse: float | None = None
    similarity: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Honest:
    """A network trained for its task alone: `accuracy` on validation images, and how it went."""

    model: nn.Module
    accuracy: Quantity
    history: tuple[Passed, ...] = field(repr=False)


@dataclass(frozen=True, eq=False, kw_only=True)
class Malicious:
    """A network, and a decoder of what it releases, in eval mode, whoever meant them so.

    `model` maps images in [0, 1] to outputs; `decoder` maps codes (n, `code`) to images; `release`
    says what the codes are. `accuracy` is that of the task on validation images, None where none
    was learnt. `history` has one entry an epoch of the decoder's training.
    """

    model: nn.Module
    decoder: nn.Module
    release: str
    accuracy: Quantity | None
    history: tuple[Passed, ...] = field(repr=False)
    released: Released = field(repr=False)

    @property
    def layout(self) -> Layout:
        """What crosses."""
        return self.released.layout

    @property
    def code(self) -> int:
        """Numbers released for an image."""
        return self.layout.size

    def codes(self, x: Images) -> Features:
        """What is released for images, (n, code), on the CPU."""
        return self.released.both(x)[1]

    def outputs(self, x: Images) -> Tensor:
        """The network's answers (n, k), on the CPU."""
        return self.released.both(x)[0]

    def rebuild(self, codes: Features) -> Images:
        """What the decoder makes of codes, on the CPU."""
        return decoded(self.decoder, codes)

    def observe(self, x: Images, labels: Labels | None = None) -> Observation:
        """What somebody between the device and the world sees for images."""
        return Observation(self.codes(x)[:, None], self.layout, labels)

    @property
    def reconstructor(self) -> "SecretReconstructor":
        """The decoder as a fitted attack."""
        return SecretReconstructor(self.decoder, self.layout)


@dataclass(frozen=True, eq=False)
class SecretReconstructor(Reconstructor):
    """A decoder as a fitted attack; of several sends for one image it reads the mean."""

    decoder: nn.Module
    layout: Layout

    def __call__(self, observation: Observation, rng: Rng) -> Targets:
        if observation.z.shape[-1] != self.layout.size:
            raise BadInput(
                f"the decoder reads {self.layout.size} values an image, {observation.z.shape[-1]} "
                "crossed: attack the release it was trained for"
            )
        return decoded(self.decoder, observation.z.float().mean(1))


def decoded(decoder: nn.Module, codes: Tensor) -> Tensor:
    """Images from codes, in eval mode, in batches, on the CPU."""
    device = next((p.device for p in decoder.parameters()), torch.device("cpu"))
    with evaluating(decoder):
        return torch.cat([decoder(part.to(device)).float().cpu() for part in codes.split(_BATCH)])
