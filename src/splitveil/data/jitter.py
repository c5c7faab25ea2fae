"""Pictures of one thing under random affine maps and shades."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.shapes import Images


@dataclass(frozen=True, kw_only=True)
class Jitter:
    """How far pictures of one thing differ, every number uniform in its range.

    Rotation in ± `degrees`, ln scale of each axis in ± `scale`, shear in ± `shear`, shift in
    ± `shift` of half the side; ink is [1 - `shade`, 1] and paper [0, `shade`].

    Raises:
        BadPlan: if a range is negative, or the shades meet.
    """

    degrees: float = 12.0
    scale: float = 0.12
    shear: float = 0.12
    shift: float = 0.12
    shade: float = 0.25

    def __post_init__(self) -> None:
        ranges = (self.degrees, self.scale, self.shear, self.shift, self.shade)
        if min(ranges) < 0 or self.shade >= 0.5:
            raise BadPlan(f"jitter needs ranges of 0 or more, and shades below 0.5: got {self}")


def jittered(ink: Images, size: int, jitter: Jitter, rng: Rng) -> Float[Tensor, "n c size size"]:
    """Pictures (n, c, size, size) of ink (n, c, h, w) in [0, 1], outside of which there is none."""
    drawn = torch.rand(len(ink), 8, generator=rng.torch()) * 2 - 1
    angle = drawn[:, 0] * jitter.degrees * torch.pi / 180
    wide, high = (drawn[:, 1:3] * jitter.scale).exp().unbind(1)
    shear = drawn[:, 3] * jitter.shear
    cosine, sine = angle.cos(), angle.sin()
    across = torch.stack([cosine * wide, -sine * high + shear, drawn[:, 4] * jitter.shift], 1)
    down = torch.stack([sine * wide, cosine * high, drawn[:, 5] * jitter.shift], 1)
    grid = affine_grid(torch.stack([across, down], 1), [len(ink), 1, size, size], False)
    shape = grid_sample(ink, grid, align_corners=False)
    paper, dark = ((drawn[:, 6:8, None, None, None] + 1) / 2 * jitter.shade).unbind(1)
    return (paper + (1 - dark - paper) * shape).clamp(0, 1)
