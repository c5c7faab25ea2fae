"""Judges whether an image is real: a number that falls as it looks rebuilt."""

from torch import Tensor, nn


class Critic(nn.Module):
    """Strided convolutions down to a few cells, then one number an image; groups normalised."""

    def __init__(self, shape: tuple[int, ...], *, width: int) -> None:
        nn.Module.__init__(self)
        layers: list[nn.Module] = [nn.Conv2d(shape[0], width, 4, 2, 1), nn.LeakyReLU(0.2)]
        side, wide = min(shape[1:]) // 2, width
        while side >= 4:
            layers += [
                nn.Conv2d(wide, 2 * wide, 4, 2, 1),
                nn.GroupNorm(8, 2 * wide),
                nn.LeakyReLU(0.2),
            ]
            side, wide = side // 2, 2 * wide
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.out = nn.Linear(4 * wide, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, c, h, w) to (n,)."""
        found: Tensor = self.out(self.layers(x))[:, 0]
        return found
