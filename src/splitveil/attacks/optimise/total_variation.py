"""Total variation: how much neighbouring pixels differ."""

import torch
from torch import Tensor


def total_variation(x: Tensor, *, smoothing: float = 1e-3) -> Tensor:
    """Mean over pixels and channels of sqrt(Δ_h² + Δ_v² + s²) - s, one value an image (n,).

    Isotropic, of x (n, c, h, w) in [0, 1], in input units per value, with s = `smoothing` so that
    it has a gradient where an image is flat. Differences go to the next row and column and are 0
    past the last ones.
    """
    down = torch.nn.functional.pad(x[:, :, 1:] - x[:, :, :-1], (0, 0, 0, 1))
    across = torch.nn.functional.pad(x[:, :, :, 1:] - x[:, :, :, :-1], (0, 1))
    steep = (down.square() + across.square() + smoothing**2).sqrt() - smoothing
    return steep.flatten(1).mean(1)
