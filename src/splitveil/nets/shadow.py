"""A guess at a head nobody has seen: images in, features of a given shape out."""

from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

_WIDEST = 2**24


class ShadowEncoder(nn.Module):
    """Convolutions that halve the grid down to that of a map (c, h, w); else a linear layer.

    For vector targets two layers. Rows are packed features (n, size) as the layout packs them.
    """

    def __init__(
        self, target: tuple[int, ...], parts: tuple[tuple[int, ...], ...], *, width: int
    ) -> None:
        nn.Module.__init__(self)
        size = sum(prod(part) for part in parts)
        self.grid: tuple[int, int] | None = None
        if len(target) != 3:
            self.body: nn.Module = nn.Sequential(
                nn.Flatten(), nn.Linear(prod(target), 4 * width), nn.SiLU()
            )
            self.out: nn.Module = nn.Linear(4 * width, size)
            return
        least = 4
        if len(parts) == 1 and len(parts[0]) == 3:
            self.grid = (parts[0][1], parts[0][2])
            least = max(self.grid)
        layers: list[nn.Module] = [nn.Conv2d(target[0], width, 3, padding=1), nn.SiLU()]
        side = max(target[1:])
        while side // 2 >= least:
            side //= 2
            layers += [nn.Conv2d(width, width, 3, 2, 1), nn.GroupNorm(8, width), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        if self.grid is not None:
            self.out = nn.Conv2d(width, parts[0][0], 3, padding=1)
        else:
            with torch.no_grad():
                hidden = self.body(torch.zeros(1, *target)).numel()
            pooled = hidden * size > _WIDEST
            self.body.append(nn.AdaptiveAvgPool2d(2) if pooled else nn.Identity())
            self.out = nn.Sequential(nn.Flatten(), nn.Linear(4 * width if pooled else hidden, size))

    def forward(self, x: Tensor) -> Tensor:
        """Map targets (n, *target) to packed features (n, size)."""
        hidden = self.body(x)
        if self.grid is not None:
            hidden = adaptive_avg_pool2d(hidden, self.grid)
        out: Tensor = self.out(hidden).flatten(1)
        return out
