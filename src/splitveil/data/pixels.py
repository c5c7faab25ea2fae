"""From stored pixels to float32 images in [0, 1]: every conversion explicit and written down."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad

from splitveil.errors import BadData, BadPlan, UnknownName
from splitveil.shapes import Images

Fit: TypeAlias = Literal["bilinear", "pad"]
Converted: TypeAlias = Float[Tensor, "n channels height width"]
_LUMA = (0.299, 0.587, 0.114)
_SLACK = 1e-6


@dataclass(frozen=True, eq=False)
class RawImages:
    """Pixels as stored, (n, h, w, c), with labels (or none) and positions in the source."""

    pixels: NDArray[np.generic]
    labels: NDArray[np.int64] | None
    index: NDArray[np.int64]

    def __len__(self) -> int:
        """How many images."""
        return len(self.pixels)

    def take(self, rows: slice | NDArray[np.int64]) -> "RawImages":
        """The images at `rows`."""
        labels = None if self.labels is None else self.labels[rows]
        return replace(self, pixels=self.pixels[rows], labels=labels, index=self.index[rows])


@dataclass(frozen=True, kw_only=True)
class PixelPlan:
    """What to do to pixels; whatever is not asked for is not done.

    Args:
        size: height and width wanted, or None to keep what is stored.
        channels: 1 for grey, 3 for RGB, or None to keep what is stored.
        fit: how to reach `size`: "bilinear" (antialiased, aspect ratio not kept) or "pad" (black
            borders, no resampling).
        pixel_range: stored values that mean black and white; None means 0 and 255 for unsigned
            bytes and 0 and 1 for floating point.

    Raises:
        BadPlan: if a setting makes no sense.
        UnknownName: if there is no such fit.
    """

    size: int | None = None
    channels: int | None = None
    fit: Fit = "bilinear"
    pixel_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise BadPlan(f"size must be a positive number of pixels, got {self.size}")
        if self.channels not in (None, 1, 3):
            raise BadPlan(f"channels must be 1 (grey) or 3 (RGB), got {self.channels}")
        if self.fit not in get_args(Fit):
            raise UnknownName("fit", self.fit, get_args(Fit))
        if self.pixel_range is not None and not self.pixel_range[0] < self.pixel_range[1]:
            raise BadPlan(f"pixel range must be (black, white), rising, got {self.pixel_range}")

    def apply(self, pixels: NDArray[np.generic], where: str) -> tuple[Images, tuple[str, ...]]:
        """Pixels (n, h, w, c) as images in [0, 1], and a sentence for each conversion made.

        Raises:
            BadData: naming `where`, if pixels are NaN or out of range, or black borders asked for
                would have to cut the image.
        """
        x, scaled = to_unit(pixels, self.pixel_range, where)
        x, coloured = to_channels(x, self.channels)
        x, fitted = to_size(x, self.size, self.fit, where)
        return x, tuple(note for note in (scaled, coloured, fitted) if note)


def channels_last(array: NDArray[np.generic], where: str) -> NDArray[np.generic]:
    """Images as (n, h, w, c), from (n, h, w), (n, h, w, c) or (n, c, h, w) with c = 1 or 3.

    Raises:
        BadData: if the shape is none of these or can be read two ways.
    """
    if array.ndim == 3:
        return array[..., None]
    if array.ndim == 4:
        last, first = array.shape[3] in (1, 3), array.shape[1] in (1, 3)
        if last and not first:
            return array
        if first and not last:
            return np.moveaxis(array, 1, 3)
        if first and last:
            raise BadData(
                f"{where}: shape {array.shape} can be read as channels first or last: "
                "give (n, h, w) for grey images"
            )
    raise BadData(
        f"{where}: expected images of shape (n, h, w), (n, h, w, c) or (n, c, h, w) with 1 or 3 "
        f"channels, got {array.shape}"
    )


def to_unit(
    pixels: NDArray[np.generic], pixel_range: tuple[float, float] | None, where: str
) -> tuple[Images, str]:
    """Float32 images (n, c, h, w) in [0, 1].

    Raises:
        BadData: if values are NaN, lie outside the range, or have a type with no range of its own.
    """
    if pixels.dtype == np.bool_:
        pixels, pixel_range = pixels.astype(np.uint8), pixel_range or (0.0, 1.0)
    kind = pixels.dtype.kind
    if kind not in "uif":
        raise BadData(f"{where}: expected numbers as pixels, got {pixels.dtype}")
    if kind == "f" and not np.isfinite(pixels).all():
        bad = int((~np.isfinite(pixels.reshape(len(pixels), -1))).any(1).sum())
        raise BadData(f"{where}: {bad} of {len(pixels)} images hold NaN or infinity: remove them")
    if pixel_range is None and kind != "f" and pixels.dtype != np.uint8:
        raise BadData(
            f"{where}: {pixels.dtype} pixels have no range of their own (they span "
            f"[{pixels.min()}, {pixels.max()}]): give pixel_range=(black, white)"
        )
    if pixel_range is None and kind == "u" and len(pixels) > 1 and 0 < pixels.max() <= 1:
        raise BadData(
            f"{where}: bytes span [0, 1], not [0, 255]: give pixel_range=(0, 1) if 1 means white"
        )
    low, high = pixel_range or ((0.0, 255.0) if kind == "u" else (0.0, 1.0))
    smallest, largest = float(pixels.min()), float(pixels.max())
    slack = _SLACK * (high - low)
    if smallest < low - slack or largest > high + slack:
        raise BadData(
            f"{where}: pixels span [{smallest:.6g}, {largest:.6g}], outside [{low:g}, {high:g}]: "
            "give pixel_range=(black, white), and undo any mean and standard deviation first"
        )
    x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32))
    if (low, high) != (0.0, 1.0):
        x = (x - low) / (high - low)
    note = ""
    if pixel_range is not None:
        note = f"Stored values {low:g} to {high:g} were mapped to 0 to 1."
    elif kind == "u":
        note = "Unsigned bytes were divided by 255."
    return x.clamp_(0, 1), note


def to_channels(x: Images, channels: int | None) -> tuple[Converted, str]:
    """Grey or RGB as asked: luma of ITU-R BT.601, or the grey value three times."""
    given = x.shape[1]
    if channels is None or channels == given:
        return x, ""
    if channels == 1:
        weights = x.new_tensor(_LUMA).reshape(1, 3, 1, 1)
        return (x * weights).sum(1, keepdim=True), "RGB was made grey (ITU-R BT.601 luma)."
    return x.expand(-1, 3, -1, -1).contiguous(), "Grey was repeated to three channels."


def to_size(x: Images, size: int | None, fit: Fit, where: str) -> tuple[Converted, str]:
    """Square images of `size` pixels a side.

    Raises:
        BadData: if padding is asked for an image that is larger than `size`.
    """
    height, width = x.shape[2:]
    if size is None or (height, width) == (size, size):
        return x, ""
    if fit == "bilinear":
        resized = interpolate(x, (size, size), mode="bilinear", antialias=True).clamp_(0, 1)
        shape = "" if height == width else "; the aspect ratio was not kept"
        return resized, (
            f"Images were resized from {height}x{width} to {size}x{size} (bilinear, "
            f"antialiased{shape})."
        )
    if max(height, width) > size:
        raise BadData(
            f"{where}: {height}x{width} images cannot be padded to {size}x{size}: "
            "choose fit='bilinear' or a larger size"
        )
    above, left = (size - height) // 2, (size - width) // 2
    borders = (left, size - width - left, above, size - height - above)
    padded = pad(x, borders)
    return padded, (
        f"Images were padded with black from {height}x{width} to {size}x{size} "
        f"({above} rows above, {left} columns left); nothing was resampled."
    )


def uniform(shapes: set[tuple[int, ...]], where: str) -> None:
    """Refuse images of several shapes.

    Raises:
        BadData: naming the shapes found.
    """
    if len(shapes) > 1:
        shown = ", ".join("x".join(map(str, shape)) for shape in sorted(shapes)[:4])
        raise BadData(
            f"{where}: images have {len(shapes)} shapes ({shown}): give size= and channels= to "
            "convert them"
        )
