"""The decoder an adversary learns with: packed features to something shaped like images."""

import torch
from torch import Tensor, nn

from splitveil.defences.base import Component, Setting
from splitveil.errors import BadPlan
from splitveil.nets.inverter import ImageInverter
from splitveil.partition.layout import Layout
from splitveil.shapes import Features


class Rebuilder(nn.Module):
    """A start, plus an `ImageInverter`'s correction from features divided by the batch's RMS.

    The division keeps an encoder from escaping its adversary by rescaling.
    """

    start: Tensor

    def __init__(self, layout: Layout, start: Tensor, *, width: int, depth: int) -> None:
        nn.Module.__init__(self)
        parts = layout.parts
        maps = len(parts) == 1 and len(parts[0].shape) == 3 and parts[0].multiplicity == 1
        self.shape = parts[0].shape if maps else (layout.size,)
        self.register_buffer("start", start)
        self.network = ImageInverter(
            self.shape, tuple(start.shape), guesses=1, classes=1, width=width, depth=depth
        )

    def forward(self, z: Features) -> Tensor:
        """Map packed features (n, f) to (n, *start)."""
        z = z.float()
        z = z / z.square().mean().sqrt().clamp_min(1e-6)
        start = self.start.expand(len(z), *self.start.shape)
        rows = torch.zeros(len(z), dtype=torch.int64, device=z.device)
        out: Tensor = start + self.network(z.unflatten(1, self.shape), start, rows)
        return out


def images_of(setting: Setting, component: Component) -> Tensor:
    """Calibration images, if the targets are any.

    Raises:
        BadPlan: if they are not.
    """
    if setting.x is None or setting.x.dim() != 4:
        raise BadPlan(f"{component} rebuilds images: give data of images (n, c, h, w)")
    return setting.x
