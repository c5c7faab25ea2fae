"""Other views of images, a whole batch at a time."""

from dataclasses import dataclass

import torch
from torch import Tensor

from splitveil.errors import BadPlan
from splitveil.shapes import Images


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Each image mirrored with probability `flip`, moved, and with a rectangle of noise erased.

    It is moved by up to `shift` of each side, edges repeated; with probability `erase` a rectangle
    of 2 to 20 % of its area becomes uniform noise. Index arithmetic and masks, no loop over images.

    Raises:
        BadPlan: if a probability is not in [0, 1] or the shift not in [0, 1).
    """

    flip: float | int = 0.5
    shift: float | int = 0.1
    erase: float | int = 0.5

    def __post_init__(self) -> None:
        if not (0 <= self.flip <= 1 and 0 <= self.erase <= 1 and 0 <= self.shift < 1):
            raise BadPlan(f"probabilities lie in [0, 1] and the shift in [0, 1), got {self}")

    def __call__(self, x: Images, generator: torch.Generator) -> Images:
        """Views of the same shape; draws from `generator` on the CPU."""
        n, _, height, width = x.shape
        draws = torch.rand(8, n, 1, generator=generator).to(x)
        columns = _moved(width, self.shift, draws[0])
        columns = torch.where(draws[1] < self.flip, width - 1 - columns, columns)
        rows = _moved(height, self.shift, draws[2])
        # two flat gathers are many times faster than one index of four tensors
        seen = x.gather(2, rows[:, None, :, None].expand_as(x))
        seen = seen.gather(3, columns[:, None, None, :].expand_as(x))
        if not self.erase:
            return seen
        area = 0.02 + 0.18 * draws[3]
        stretch = (draws[4] - 0.5).mul(2.4).exp()
        inside = [
            _within(side, (area * ratio).sqrt().clamp(max=1.0), place)
            for side, ratio, place in (
                (height, stretch, draws[5]),
                (width, 1 / stretch, draws[6]),
            )
        ]
        hidden = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        hidden &= (draws[7] < self.erase)[:, :, None, None]
        noise = torch.rand(x.shape, generator=generator).to(x)
        return torch.where(hidden, noise, seen)


def _moved(side: int, most: float | int, draw: Tensor) -> Tensor:
    """Where each of `side` places reads from, (n, side)."""
    reach = int(most * side)
    moved = (draw * (2 * reach + 1)).long().clamp(max=2 * reach) - reach
    return (torch.arange(side, device=draw.device) + moved).clamp(0, side - 1)


def _within(side: int, share: Tensor, place: Tensor) -> Tensor:
    """Whether each place lies in an interval of `share` of the side, (n, side)."""
    centre = (torch.arange(side, device=share.device) + 0.5) / side
    start = place * (1 - share)
    return (centre >= start) & (centre <= start + share)
