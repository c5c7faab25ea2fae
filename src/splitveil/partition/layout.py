"""What crosses a cut: the parts, their axes and types, and how they pack into one z."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch
from torch import Tensor

from splitveil.errors import BadInput
from splitveil.shapes import Features

_WIDE = ("float64", "int32", "int64")  # not all their values are float32 values
_LIMIT = 2**53


@dataclass(frozen=True)
class Part:
    """One tensor that crosses.

    `shape` is one image's share of the tensor, without its batch axis; `axis` is where the batch
    axis lies in the real tensor; `multiplicity` is how many rows of that axis belong to one image;
    `dtype` is torch's name without the prefix, such as "float32". Rows of one image follow each
    other, or lie one batch apart if `interleaved`. `strides` lists the axes from the widest stride
    to the narrowest where memory is laid out otherwise: kernels round by it.
    """

    name: str
    shape: tuple[int, ...]
    axis: int = 0
    multiplicity: int = 1
    dtype: str = "float32"
    interleaved: bool = False
    strides: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Values per image."""
        return prod(self.shape) * self.multiplicity


@dataclass(frozen=True)
class Layout:
    """All parts that cross, in graph order; packs them as one z of shape (n, size) and back.

    z is float32, or float64 where a part holds float64 or 32- or 64-bit integers; parts that all
    share one floating type keep it. Whole numbers and booleans travel by value and are rounded on
    arrival, so that a release may add noise to them.
    """

    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        """Values per image over all parts."""
        return sum(part.size for part in self.parts)

    def pack(self, tensors: Sequence[Tensor]) -> Features:
        """The parts' tensors as one z of shape (n, size); differentiable.

        Raises:
            BadInput: if there are more or fewer tensors than parts, or a whole number is beyond
                2^53, where float64 no longer holds it.
        """
        if len(tensors) != len(self.parts):
            raise BadInput(f"{len(self.parts)} tensors cross this cut, got {len(tensors)}")
        rows = [_rows(part, tensor) for part, tensor in zip(self.parts, tensors, strict=True)]
        if len(rows) == 1 and rows[0].is_floating_point():
            return rows[0]
        kinds = {row.dtype for row in rows}
        if len(kinds) == 1 and rows[0].is_floating_point():
            return torch.cat(rows, 1)
        wide = any(str(kind).removeprefix("torch.") in _WIDE for kind in kinds)
        for row in rows:
            if row.dtype is torch.int64 and row.numel() and int(row.abs().max()) > _LIMIT:
                raise BadInput(f"whole numbers beyond 2^53 cross this cut: choose another, {self}")
        kind = torch.float64 if wide else torch.float32
        return torch.cat([row.to(kind) for row in rows], 1)

    def unpack(self, z: Features) -> tuple[Tensor, ...]:
        """The inverse of `pack`: the parts' tensors as the cloud's half reads them.

        Raises:
            BadInput: if z does not have `size` columns.
        """
        if z.dim() != 2 or z.shape[1] != self.size:
            raise BadInput(f"z must have shape (n, {self.size}), got {tuple(z.shape)}")
        kept = len({part.dtype for part in self.parts}) == 1
        ends = [0]
        for part in self.parts:
            ends.append(ends[-1] + part.size)
        return tuple(
            _tensor(part, z[:, start:end], kept=kept)
            for part, (start, end) in zip(self.parts, pairwise(ends), strict=True)
        )


def _rows(part: Part, tensor: Tensor) -> Tensor:
    """One row an image."""
    if tensor.dim() != len(part.shape) + 1 or tensor.shape[part.axis] % part.multiplicity:
        raise BadInput(
            f"{part.name} should have {len(part.shape) + 1} axes and a multiple of "
            f"{part.multiplicity} rows on axis {part.axis}, got shape {tuple(tensor.shape)}"
        )
    tensor = tensor.movedim(part.axis, 0)
    images = tensor.shape[0] // part.multiplicity
    if part.interleaved:
        tensor = tensor.unflatten(0, (part.multiplicity, images)).movedim(1, 0)
    return tensor.reshape(images, part.size)


def _tensor(part: Part, rows: Tensor, *, kept: bool) -> Tensor:
    images = rows.shape[0]
    dtype: torch.dtype = getattr(torch, part.dtype)
    if part.dtype == "bool":
        rows = rows > 0.5
    elif not dtype.is_floating_point:
        rows = rows.round().to(dtype)
    elif not kept:
        rows = rows.to(dtype)
    if part.interleaved:
        tensor = rows.reshape(images, part.multiplicity, *part.shape).movedim(0, 1)
        tensor = tensor.reshape(part.multiplicity * images, *part.shape)
    else:
        tensor = rows.reshape(images * part.multiplicity, *part.shape)
    tensor = tensor.movedim(0, part.axis)
    if not part.strides:
        return tensor.contiguous()
    inverse = [part.strides.index(axis) for axis in range(tensor.dim())]
    return tensor.permute(part.strides).contiguous().permute(inverse)
