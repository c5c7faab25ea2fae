"""See what crosses as maps over the image: channels, rows and columns, whatever the network."""

from dataclasses import dataclass
from math import isqrt, prod

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from splitveil.errors import BadInput
from splitveil.partition.layout import Layout, Part


@dataclass(frozen=True)
class Patch:
    """One part seen as a map: where it lies in z, its own axes, and how to turn them.

    `order` permutes the part's axes to (channels, rows, columns) after `skip` leading tokens are
    dropped and the token axis is unfolded to rows and columns.
    """

    start: int
    part: tuple[int, ...]
    skip: int
    order: tuple[int, int, int]
    channels: int
    height: int
    width: int

    def __call__(self, z: Tensor) -> Tensor:
        """Map z (n, f) to (n, channels, height, width)."""
        values = z[:, self.start : self.start + prod(self.part)].unflatten(1, self.part)
        if len(self.part) == 2:
            values = values[:, self.skip :].unflatten(1, (self.height, self.width))
        a, b, c = self.order
        return values.permute(0, 1 + a, 1 + b, 1 + c)


@dataclass(frozen=True)
class Grid:
    """All parts that are maps, on the finest of their grids; other parts are left out."""

    patches: tuple[Patch, ...]
    height: int
    width: int

    @staticmethod
    def of(layout: Layout, shape: tuple[int, ...]) -> "Grid":
        """Find the maps among the parts, for targets of `shape` (channels, rows, columns).

        A part with three axes is a map if its rows and columns keep the image's aspect, with
        channels first or last. A part with two axes is a row of tokens if their number, less at
        most one class token at the front, fills a grid of that aspect. Coarser maps are repeated
        onto the finest grid.

        Raises:
            BadInput: if targets are not images or no part is a map.
        """
        if len(shape) != 3:
            raise BadInput(f"maps need image targets (channels, rows, columns), got {shape}")
        found, start = [], 0
        for part in layout.parts:
            patch = _patch(part, start, shape[1], shape[2])
            if patch is not None:
                found.append(patch)
            start += part.size
        if not found:
            shapes = ", ".join(str(part.shape) for part in layout.parts) or "nothing"
            raise BadInput(
                f"no part that crosses is a map over images of shape {shape} (parts: {shapes}): "
                "use the full ridge or a cut further up"
            )
        return Grid(tuple(found), max(p.height for p in found), max(p.width for p in found))

    @property
    def channels(self) -> int:
        """Channels of all maps together."""
        return sum(patch.channels for patch in self.patches)

    def __call__(self, z: Tensor) -> Tensor:
        """Map z (n, f) to (n, channels, height, width)."""
        size = (self.height, self.width)
        maps = [patch(z) for patch in self.patches]
        return torch.cat([m if m.shape[2:] == size else interpolate(m, size) for m in maps], 1)


def _patch(part: Part, start: int, rows: int, columns: int) -> Patch | None:
    if part.multiplicity != 1 or "float" not in part.dtype:
        return None
    shape = part.shape
    if len(shape) == 3:
        for order in ((0, 1, 2), (2, 0, 1)):
            channels, height, width = (shape[axis] for axis in order)
            if _same_aspect(height, width, rows, columns):
                return Patch(start, shape, 0, order, channels, height, width)
    if len(shape) == 2:
        for skip in (0, 1):
            tokens = shape[0] - skip
            height = max(1, isqrt(tokens * rows // columns))
            width = tokens // height
            if (
                tokens > 1
                and height * width == tokens
                and _same_aspect(height, width, rows, columns)
            ):
                return Patch(start, shape, skip, (2, 0, 1), shape[1], height, width)
    return None


def _same_aspect(height: int, width: int, rows: int, columns: int) -> bool:
    return abs(height * columns - width * rows) < max(rows, columns)


def blocks(size: int, cells: int) -> Tensor:
    """The pixels of each cell along one axis: (cells, ceil(size / cells)), covering all of it.

    Neighbouring cells overlap where `cells` does not divide `size`.
    """
    reach = -(-size // cells)
    starts = torch.arange(cells) * size // cells
    return starts[:, None] + torch.arange(reach)
