"""Batch normalisation whose scale and shift belong to a class."""

import torch
from torch import Tensor, nn


class ConditionalNorm2d(nn.Module):
    """Normalised over the batch, then scaled and shifted by two learnt vectors of the class.

    De Vries et al. 2017.
    """

    def __init__(self, channels: int, classes: int) -> None:
        nn.Module.__init__(self)
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale = nn.Embedding(classes, channels)
        self.shift = nn.Embedding(classes, channels)
        with torch.no_grad():
            self.scale.weight.fill_(1.0)
            self.shift.weight.zero_()

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Map (n, channels, h, w) and classes (n,) to the same shape."""
        scale, shift = self.scale(labels), self.shift(labels)
        out: Tensor = scale[:, :, None, None] * self.norm(x) + shift[:, :, None, None]
        return out
