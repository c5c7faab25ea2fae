"""Other views of the features, put beside them: they tell a decoder nothing new, but may ease it.

By data processing no map of z carries more about the target than z does.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


class Plain(nn.Module):
    """The features alone."""

    def __init__(self, channels: int, cells: int) -> None:
        nn.Module.__init__(self)
        self.channels = channels

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, c, h, w) to itself."""
        return maps


class Spectrum(nn.Module):
    """Beside z its log spectrum, log(1 + |Re F z| + |Im F z|), with mean 0 and variance 1 an image.

    F is the orthonormal 2-D Fourier transform; over the channels where there is one cell only.
    """

    def __init__(self, channels: int, cells: int) -> None:
        nn.Module.__init__(self)
        self.channels = 2 * channels

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, 2 c, h, w)."""
        axes = (1,) if maps.shape[2:] == (1, 1) else (2, 3)
        # transforms know no half precision
        found = torch.fft.fftn(maps.float(), dim=axes, norm="ortho")
        seen = (found.real.abs() + found.imag.abs()).log1p()
        middle = seen.mean((1, 2, 3), keepdim=True)
        scale = (seen - middle).square().mean((1, 2, 3), keepdim=True).sqrt()
        return torch.cat([maps, ((seen - middle) / (scale + 1e-6)).to(maps.dtype)], 1)


class DropoutView(nn.Module):
    """Beside z a small convolutional view of it, of which whole channels are dropped in training.

    3 x 3 convolution, normalisation of each channel of each image, ReLU, dropout of 0.3 of the
    channels, 1 x 1 convolution.
    """

    def __init__(self, channels: int, cells: int) -> None:
        nn.Module.__init__(self)
        self.channels = 2 * channels
        self.view = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            # one cell has no spread to normalise by
            nn.GroupNorm(channels if cells > 1 else 1, channels),
            nn.ReLU(),
            nn.Dropout2d(0.3),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, 2 c, h, w)."""
        return torch.cat([maps, self.view(maps)], 1)


class Bottleneck(nn.Module):
    """Beside z what is left of it after c -> c/2 -> c/4 channels and back."""

    def __init__(self, channels: int, cells: int) -> None:
        nn.Module.__init__(self)
        self.channels = 2 * channels
        half, quarter = max(4, channels // 2), max(4, channels // 4)
        self.view = nn.Sequential(
            nn.Conv2d(channels, half, 3, 2, 1),
            nn.GroupNorm(1, half),
            nn.PReLU(),
            nn.Conv2d(half, quarter, 3, padding=1),
            nn.GroupNorm(1, quarter),
            nn.PReLU(),
            nn.ConvTranspose2d(quarter, channels, 4, 2, 1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, 2 c, h, w)."""
        back = self.view(maps)[:, :, : maps.shape[2], : maps.shape[3]]
        return torch.cat([maps, back], 1)


class Expansion(nn.Module):
    """Twice the channels by a 1 x 1 convolution, weighted by squeeze and excitation, then 3 x 3."""

    def __init__(self, channels: int, cells: int) -> None:
        nn.Module.__init__(self)
        self.channels = 2 * channels
        self.wide = nn.Conv2d(channels, self.channels, 1)
        self.gate = SqueezeExcitation(self.channels, 8)
        self.norm = nn.GroupNorm(8 if self.channels % 8 == 0 else 1, self.channels)
        self.conv = nn.Conv2d(self.channels, self.channels, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, 2 c, h, w)."""
        out: Tensor = self.conv(self.norm(self.gate(self.wide(maps))))
        return out


class SqueezeExcitation(nn.Module):
    """x times a gate a channel, from the channels' means (Hu et al. 2018)."""

    def __init__(self, channels: int, shrink: int) -> None:
        nn.Module.__init__(self)
        hidden = max(4, channels // shrink)
        self.gate = nn.Sequential(
            nn.Linear(channels, hidden), nn.SiLU(), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        out: Tensor = x * self.gate(x.mean((2, 3)))[:, :, None, None]
        return out


REPRESENTATIONS: Mapping[str, Callable[[int, int], nn.Module]] = {
    "bottleneck": Bottleneck,
    "dropout": DropoutView,
    "expansion": Expansion,
    "plain": Plain,
    "spectrum": Spectrum,
}
