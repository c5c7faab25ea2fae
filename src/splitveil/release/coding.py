"""Features as bytes on the wire and back: whole floats or packed levels, then zlib."""

import math
import struct
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.shapes import Features

_HEADER = struct.Struct("<4sBQQ")
_MAGIC = b"svz1"
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


class Coder(ABC):
    """Exact coding of what a release sent: `decode(encode(sent))` equals `sent` bit for bit."""

    @abstractmethod
    def rows(self, sent: Features) -> UInt8[np.ndarray, "n b"]:
        """One row of raw bytes per image.

        Raises:
            BadData: if `sent` cannot have come from the release this coder belongs to.
        """

    @abstractmethod
    def restore(
        self, rows: UInt8[np.ndarray, "n b"], features: int, dtype: torch.dtype
    ) -> Features:
        """The inverse of `rows`."""

    def encode(self, sent: Features) -> bytes:
        """A header (mark, dtype, shape) and the zlib-coded rows of all images."""
        if sent.dtype not in _DTYPES:
            raise BadData(f"cannot code features of type {sent.dtype}: use a floating type")
        header = _HEADER.pack(_MAGIC, _DTYPES.index(sent.dtype), *sent.shape)
        return header + zlib.compress(self.rows(sent.detach().cpu()).tobytes())

    def decode(self, payload: bytes) -> Features:
        """The features behind a payload, on the CPU.

        Raises:
            BadData: if the payload was cut short, altered or made by something else.
        """
        try:
            mark, code, images, features = _HEADER.unpack_from(payload)
            body = zlib.decompress(payload[_HEADER.size :])
            dtype = _DTYPES[code]
        except (struct.error, zlib.error, IndexError) as error:
            raise BadData(f"payload is damaged ({error}): send it again") from error
        if mark != _MAGIC or (images and len(body) % images):
            raise BadData("payload is not one of ours or was altered: send it again")
        if not images:
            return torch.zeros(0, features, dtype=dtype)
        rows = np.frombuffer(body, np.uint8).reshape(images, -1)
        return self.restore(rows, features, dtype)


@dataclass(frozen=True)
class FloatCoder(Coder):
    """Floats byte plane by byte plane, so that zlib finds the exponents next to each other.

    `wire` narrows the type on the wire; None sends the features' own type.
    """

    wire: torch.dtype | None = None

    def rows(self, sent: Features) -> UInt8[np.ndarray, "n b"]:
        narrow = sent.contiguous() if self.wire is None else sent.to(self.wire).contiguous()
        if self.wire is not None and not torch.equal(narrow.to(sent.dtype), sent):
            raise BadData(f"features do not fit {self.wire} exactly: release them as such first")
        n, f = sent.shape
        planes = narrow.view(torch.uint8).reshape(n, f, narrow.element_size())
        rows: NDArray[np.uint8] = planes.transpose(1, 2).reshape(n, -1 if n else 0).numpy()
        return rows

    def restore(
        self, rows: UInt8[np.ndarray, "n b"], features: int, dtype: torch.dtype
    ) -> Features:
        wire = dtype if self.wire is None else self.wire
        size = wire.itemsize
        if rows.shape[1] != features * size:
            raise BadData(f"payload holds {rows.shape[1]} bytes an image, not {features * size}")
        planes = torch.from_numpy(rows.copy()).reshape(len(rows), size, features)
        return planes.transpose(1, 2).reshape(len(rows), -1).view(wire).to(dtype)


def pack(levels: UInt8[np.ndarray, "n f"], bits: int) -> UInt8[np.ndarray, "n b"]:
    """Levels below 2**bits as ceil(f bits / 8) bytes a row, most significant bit first."""
    if bits == 8:
        return levels
    planes = np.unpackbits(levels[..., None], axis=-1)[..., 8 - bits :]
    return np.packbits(planes.reshape(len(levels), levels.shape[1] * bits), axis=1)


def unpack(rows: UInt8[np.ndarray, "n b"], features: int, bits: int) -> UInt8[np.ndarray, "n f"]:
    """The inverse of `pack`."""
    if rows.shape[1] != math.ceil(features * bits / 8):
        raise BadData(
            f"payload holds {rows.shape[1]} bytes an image, "
            f"not {math.ceil(features * bits / 8)} for {features} values of {bits} bits"
        )
    if bits == 8:
        return rows
    planes = np.unpackbits(rows, axis=1)[:, : features * bits].reshape(len(rows), features, bits)
    weights = (1 << np.arange(bits - 1, -1, -1)).astype(np.uint8)
    return (planes * weights).sum(-1, dtype=np.uint8)


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """The 2**bits points `low + step k`; values outside go to the nearest end."""

    low: float
    step: float
    bits: int

    @staticmethod
    def between(low: float, high: float, bits: int) -> "Lattice":
        """End points included; a range without width gets step 1, so its one value is exact."""
        if not 1 <= bits <= 8:
            raise BadPlan(f"bits must lie between 1 and 8, got {bits}")
        width = (high - low) / (2**bits - 1)
        return Lattice(low=low, step=width if width > 0 else 1.0, bits=bits)

    @property
    def high(self) -> float:
        """The last point."""
        return self.low + self.step * (2**self.bits - 1)

    def levels(self, z: Features) -> UInt8[Tensor, "n f"]:
        """Index of the nearest point of each value."""
        k = ((z.double() - self.low) / self.step).round()
        return k.clamp_(0, 2**self.bits - 1).to(torch.uint8)

    def points(self, levels: UInt8[Tensor, "n f"], dtype: torch.dtype) -> Features:
        """The values behind indices."""
        return (self.low + self.step * levels.double()).to(dtype)


@dataclass(frozen=True, eq=False)
class LatticeCoder(Coder):
    """Packed levels of a lattice, shifted by a dither that both ends can draw.

    `state` is the generator's state from which the dither is drawn, or None without dither.
    """

    lattice: Lattice
    state: Tensor | None = field(default=None, repr=False)

    def _dither(self, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        if self.state is None:
            return torch.zeros(1, 1, dtype=dtype)
        generator = torch.Generator()
        generator.set_state(self.state)
        return dither(self.lattice, shape, dtype, generator)

    def rows(self, sent: Features) -> UInt8[np.ndarray, "n b"]:
        shift = self._dither((sent.shape[0], sent.shape[1]), sent.dtype)
        levels = self.lattice.levels(sent + shift)
        if not torch.equal(self.lattice.points(levels, sent.dtype) - shift, sent):
            raise BadData("features are not points of this lattice: encode what the release sent")
        return pack(levels.numpy(), self.lattice.bits)

    def restore(
        self, rows: UInt8[np.ndarray, "n b"], features: int, dtype: torch.dtype
    ) -> Features:
        levels = torch.from_numpy(unpack(rows, features, self.lattice.bits).copy())
        return self.lattice.points(levels, dtype) - self._dither((len(rows), features), dtype)


def dither(
    lattice: Lattice, shape: tuple[int, int], dtype: torch.dtype, generator: torch.Generator
) -> Tensor:
    """Uniform values in one cell around zero, shape (n, f), on the CPU."""
    return (torch.rand(shape, generator=generator, dtype=dtype) - 0.5) * lattice.step


def coded_bits(coder: Coder, sent: Features) -> Quantity:
    """Mean bits of one image after zlib, each image coded by itself; interval over images (t).

    Unit: bit per image. Kind: measured. The code is lossless, so the mean times ln 2 is at least
    the entropy of what is sent, up to the interval.
    """
    if not len(sent):
        raise BadData("no images to code")
    rows = coder.rows(sent.detach().cpu())
    lengths = np.array([8.0 * len(zlib.compress(row.tobytes())) for row in rows])
    mean, n = float(lengths.mean()), len(lengths)
    if n == 1:
        low, high = 0.0, math.inf
    else:
        half = float(stats.t.ppf(0.975, n - 1) * lengths.std(ddof=1) / math.sqrt(n))
        low, high = max(0.0, mean - half), mean + half
    return Quantity(
        value=mean,
        low=low,
        high=high,
        unit="bit per image",
        kind=Kind.MEASURED,
        n=n,
        direction=Direction.ESTIMATE,
        assumptions=("each image is coded by itself with zlib at its default level",),
    )
