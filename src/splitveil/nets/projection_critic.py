"""Judges whether an image is a real one of a class, its weights of bounded slope."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class ProjectionCritic(nn.Module):
    """ψ(φ(x)) + <e_y, φ(x)> with spectrally normalised weights (Miyato & Koyama 2018)."""

    def __init__(self, shape: tuple[int, ...], classes: int, *, width: int) -> None:
        nn.Module.__init__(self)
        layers: list[nn.Module] = [spectral_norm(nn.Conv2d(shape[0], width, 4, 2, 1)), nn.ReLU()]
        side, wide = min(shape[1:]) // 2, width
        while side >= 4:
            layers += [spectral_norm(nn.Conv2d(wide, 2 * wide, 4, 2, 1)), nn.ReLU()]
            side, wide = side // 2, 2 * wide
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        with torch.no_grad():
            size = self.layers(torch.zeros(1, *shape)).shape[1]
        self.out = spectral_norm(nn.Linear(size, 1))
        self.of_class = spectral_norm(nn.Embedding(classes, size))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Map images (n, c, h, w) and classes (n,) to (n,)."""
        found = self.layers(x)
        out: Tensor = self.out(found)[:, 0] + (self.of_class(labels) * found).sum(1)
        return out
