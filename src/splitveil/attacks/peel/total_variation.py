"""Smoothed total variation as residual rows, so that least squares can weigh it.

For each difference d of neighbours, vertical and horizontal, with s = sqrt(d^2 + e^2), the row

    sqrt(w) d / sqrt((s + e) / 2)        has the square   2 w (s - e),

which is 2 w |d| far from 0 and smooth at it. Source: Rudin, Osher and Fatemi 1992 (anisotropic).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from splitveil.shapes import Images, PerImage

_EDGE = 1e-2


@dataclass(frozen=True, eq=False)
class VariationRows:
    """Rows of one batch of images at one place, and how they change: see the module."""

    values: tuple[Tensor, ...]
    slopes: tuple[Tensor, ...]
    shape: torch.Size

    def push(self, v: Tensor) -> tuple[Tensor, ...]:
        """Change of the rows when the images change by v."""
        return tuple(d * slope for d, slope in zip(_differences(v), self.slopes, strict=True))

    def pull(self, u: Sequence[Tensor]) -> Tensor:
        """The transpose of `push`."""
        down, across = (a * slope for a, slope in zip(u, self.slopes, strict=True))
        out = down.new_zeros(self.shape)
        out[..., 1:, :] += down
        out[..., :-1, :] -= down
        out[..., 1:] += across
        out[..., :-1] -= across
        return out


def variation_rows(x: Images, weight: PerImage) -> VariationRows:
    """The rows of images x (n, c, h, w) in [0, 1]; edges below 0.01 count as smooth."""
    values, slopes = [], []
    root = weight.sqrt().view(-1, 1, 1, 1)
    for d in _differences(x):
        s = torch.sqrt(d * d + _EDGE**2)
        half = torch.sqrt((s + _EDGE) / 2)
        values.append(root * d / half)
        slopes.append(root * half / s)
    return VariationRows(tuple(values), tuple(slopes), x.shape)


def _differences(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., 1:] - x[..., :-1]
