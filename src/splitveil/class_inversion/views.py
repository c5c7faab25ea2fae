"""Random views of an image that pass gradient: cropped, turned, mirrored, brighter, flatter."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from splitveil.errors import BadPlan
from splitveil.shapes import Images


@dataclass(frozen=True, kw_only=True)
class Views:
    """One draw for each image of a batch: a resized crop, rotation, mirror image and jitter.

    The crop keeps `crop` of the area, uniform between its two ends, within the image; `rotate` is
    the most degrees either way, `flip` a probability, `jitter` the most by which brightness and
    contrast are multiplied away from 1. Bilinear, edges repeated. `draws` views enter a loss.

    Raises:
        BadPlan: if a setting is out of range.
    """

    draws: int = 2
    crop: tuple[float, float] = (0.8, 1.0)
    rotate: float = 5.0
    flip: float = 0.5
    jitter: float = 0.2

    def __post_init__(self) -> None:
        small, large = self.crop
        fine = 0 < small <= large <= 1 and 0 <= self.flip <= 1 and 0 <= self.jitter < 1
        if not fine or self.draws < 1 or not 0 <= self.rotate <= 180:
            raise BadPlan(
                "views need draws of at least 1, a crop within (0, 1], up to 180 degrees, a "
                f"probability and a jitter below 1, got {self}"
            )

    def __call__(self, x: Images, generator: torch.Generator) -> Images:
        """One view of each image, of its shape; draws on the CPU."""
        n, _, height, width = x.shape
        u = torch.rand(7, n, generator=generator).to(x)
        small, large = self.crop
        side = (small + (large - small) * u[0]).sqrt()
        angle = (2 * u[1] - 1) * math.radians(self.rotate)
        mirror = torch.where(u[2] < self.flip, -1.0, 1.0)
        aspect = height / width
        turn = torch.zeros(n, 2, 3, device=x.device, dtype=x.dtype)
        turn[:, 0, 0] = side * angle.cos() * mirror
        turn[:, 0, 1] = -side * angle.sin() * aspect
        turn[:, 1, 0] = side * angle.sin() * mirror / aspect
        turn[:, 1, 1] = side * angle.cos()
        turn[:, :, 2] = ((1 - side) * (2 * u[3:5] - 1)).T
        seen = grid_sample(
            x, _grid(turn, height, width), padding_mode="border", align_corners=False
        )
        if not self.jitter:
            return seen
        bright, flat = (1 + self.jitter * (2 * u[5:7] - 1))[:, :, None, None, None]
        seen = seen * bright
        mean = seen.mean((1, 2, 3), keepdim=True)
        return (mean + (seen - mean) * flat).clamp(0, 1)


def _grid(turn: Tensor, height: int, width: int) -> Tensor:
    """Where each pixel reads from: torch's affine_grid, as one matrix product."""
    rows = (torch.arange(height, device=turn.device, dtype=turn.dtype) * 2 + 1) / height - 1
    columns = (torch.arange(width, device=turn.device, dtype=turn.dtype) * 2 + 1) / width - 1
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3)
    return torch.einsum("pk,njk->npj", places, turn).unflatten(1, (height, width))
