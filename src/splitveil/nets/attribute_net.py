"""A small classifier of features, for what they tell beside the picture."""

import torch
from torch import Tensor, nn


class AttributeNet(nn.Module):
    """Two convolutions and averages over the map, or one hidden layer over a vector; and the label.

    Normalises by groups of channels, never over the batch.
    """

    def __init__(self, features: tuple[int, ...], values: int, *, classes: int, width: int) -> None:
        nn.Module.__init__(self)
        if len(features) == 3:
            self.body: nn.Module = nn.Sequential(
                nn.Conv2d(features[0], width, 3, padding=1),
                nn.GroupNorm(8, width),
                nn.SiLU(),
                nn.Conv2d(width, width, 3, 2, 1),
                nn.GroupNorm(8, width),
                nn.SiLU(),
                nn.AdaptiveAvgPool2d(min(2, -(-features[1] // 2), -(-features[2] // 2))),
                nn.Flatten(),
            )
        else:
            self.body = nn.Sequential(nn.Linear(features[0], width), nn.LayerNorm(width), nn.SiLU())
        with torch.no_grad():
            size = self.body(torch.zeros(1, *features)).shape[1]
        self.out = nn.Linear(size, values)
        self.label = nn.Embedding(classes, values)
        nn.init.zeros_(self.label.weight)

    def forward(self, z: Tensor, rows: Tensor) -> Tensor:
        """Map features (n, ...) and class rows (n,) to log-odds (n, values)."""
        out: Tensor = self.out(self.body(z.contiguous())) + self.label(rows)
        return out
