"""Gaussian noise whose size is settled anew after every epoch, by more than features."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from splitveil.defences.base import Calibration, Fitted, Part, TrainedRelease
from splitveil.defences.noise import clipped, draws
from splitveil.release import ClippedGaussian, ShapedGaussian
from splitveil.shapes import Features


def settled(size: int, clip: float, fit: Callable[[Calibration], Fitted]) -> Part:
    """A part whose noise is what `fit` found last, in units of the batch's RMS about its mean.

    `fit` is asked before the first step, after every epoch, and for what ships; it gives clipped
    Gaussian noise, even or by value, to `size` features. Within an epoch the RMS carries gradient,
    so an encoder cannot drown the noise by inflating z. What was found lies in a buffer, so that a
    stopped training goes on to the same bits.
    """
    memory = nn.Module()
    memory.register_buffer("ratio", torch.ones(size))

    def settle(calibration: Calibration) -> Fitted:
        found = fit(calibration)
        release = found.release
        assert isinstance(release, ClippedGaussian | ShapedGaussian)  # noqa: S101 - by contract
        z = calibration.z
        rms = (z - z.mean(0)).square().mean(dtype=torch.float64).sqrt()
        memory.get_buffer("ratio").copy_(release.sigma / rms)
        return found

    def send(z: Features, generator: torch.Generator) -> tuple[Features, Tensor]:
        centre, offset = clipped(z, clip)
        scale = memory.get_buffer("ratio") * (z - centre).square().mean().sqrt()
        return centre + offset + scale * draws(z, generator), scale.min()

    return Part(modules=memory, release=TrainedRelease(recipe=settle, send=send, gaussian=True))
