"""Latents to images by transposed convolutions, for all classes alike or for each its own."""

from torch import Tensor, nn

from splitveil.errors import BadPlan
from splitveil.nets.conditional_norm import ConditionalNorm2d


class Generator(nn.Module):
    """A linear layer to a coarse grid, then doublings with BatchNorm and ReLU, and a sigmoid.

    The grid is halved from the image's while both sides are even and above 4; `width` channels at
    the finest, doubled at every coarser one (Radford et al. 2016). With `classes` the
    normalisations are conditional.
    """

    def __init__(
        self, latent: int, shape: tuple[int, int, int], *, width: int, classes: int | None = None
    ) -> None:
        nn.Module.__init__(self)
        channels, height, side = shape
        grids = [(height, side)]
        while min(grids[-1]) > 4 and not (grids[-1][0] % 2 or grids[-1][1] % 2):
            grids.append((grids[-1][0] // 2, grids[-1][1] // 2))
        if len(grids) < 2:
            raise BadPlan(f"a generator doubles its grid: sides of {shape} must be even, above 4")
        self.grid = grids[-1]
        wide = width * 2 ** (len(grids) - 2)
        self.linear = nn.Linear(latent, wide * self.grid[0] * self.grid[1], bias=False)
        norms, raises = [_norm(wide, classes)], []
        for _ in grids[:-2]:
            raises.append(nn.ConvTranspose2d(wide, wide // 2, 4, 2, 1, bias=False))
            wide //= 2
            norms.append(_norm(wide, classes))
        raises.append(nn.ConvTranspose2d(wide, channels, 4, 2, 1))
        self.norms, self.raises = nn.ModuleList(norms), nn.ModuleList(raises)
        self.conditional = classes is not None

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map latents (n, latent), and classes (n,) where it knows any, to images in [0, 1]."""
        x = self.linear(z).unflatten(1, (-1, *self.grid))
        for norm, up in zip(self.norms, self.raises, strict=True):
            x = up((norm(x, labels) if self.conditional else norm(x)).relu())
        return x.sigmoid()


def _norm(channels: int, classes: int | None) -> nn.Module:
    return nn.BatchNorm2d(channels) if classes is None else ConditionalNorm2d(channels, classes)
