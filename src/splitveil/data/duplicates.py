"""Near-duplicates between splits: an attacker who already owns the private image proves nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dctn
from torch import Tensor
from torch.nn.functional import interpolate

from splitveil.shapes import Images

SPLITS = ("auxiliary", "validation", "test")
MAX_BITS = 10
MAX_RMS = 0.04
_SIDE = 32
_LOW = 8
_BLOCK = 2048


@dataclass(frozen=True)
class DuplicatePair:
    """Image `position` of `split` resembles image `other_position` of `other`.

    `bits` of the 63-bit hashes differ; `rms` is the root mean squared difference of pixels in
    [0, 1].
    """

    split: str
    position: int
    other: str
    other_position: int
    bits: int
    rms: float


@dataclass(frozen=True)
class DuplicateReport:
    """Pairs of images from two splits that are nearly the same, closest first.

    `max_bits` and `max_rms` are the thresholds: a pair is reported if it passes both. Mirrored,
    rotated or strongly cropped copies are not found.
    """

    pairs: tuple[DuplicatePair, ...] = ()
    max_bits: int = MAX_BITS
    max_rms: float = MAX_RMS

    @property
    def method(self) -> str:
        """How pairs were found, in a sentence."""
        return (
            f"63-bit cosine-transform hashes that differ in at most {self.max_bits} bits, and a "
            f"root mean squared pixel difference of at most {self.max_rms:g}"
        )

    @property
    def counts(self) -> Mapping[str, int]:
        """Pairs for each two splits, such as `auxiliary-test`."""
        counts = {f"{a}-{b}": 0 for a, b in combinations(SPLITS, 2)}
        for pair in self.pairs:
            counts[f"{pair.split}-{pair.other}"] += 1
        return counts

    def removable(self, split: str) -> tuple[int, ...]:
        """Positions in `split` that resemble an image of a later split, ascending."""
        return tuple(sorted({pair.position for pair in self.pairs if pair.split == split}))

    def to_json(self, examples: int = 5) -> dict[str, Any]:
        """Plain data: the method, the counts, and the closest pairs by position."""
        return {
            "method": self.method,
            "max_bits": self.max_bits,
            "max_rms": self.max_rms,
            "counts": dict(self.counts),
            "affected": {name: len(self.removable(name)) for name in SPLITS[:-1]},
            "examples": [vars(pair) for pair in self.pairs[:examples]],
        }


def find_duplicates(
    splits: Mapping[str, Images], *, max_bits: int = MAX_BITS, max_rms: float = MAX_RMS
) -> DuplicateReport:
    """Compare every image with every image of the other splits.

    Hash distances come from one matrix product a block: for signs s in {-1, 1} of the 63 lowest
    cosine coefficients but the mean, bits(a, b) = (63 - s_a . s_b) / 2. Pairs that pass are
    compared pixel by pixel. The hash misses mirrored, rotated and strongly cropped copies.

    Args:
        splits: images in [0, 1], by split name, all of one shape.
        max_bits: largest number of differing hash bits, of 63.
        max_rms: largest root mean squared difference, in units of the pixel range.
    """
    hashes = {name: perceptual_hash(x) for name, x in splits.items()}
    pairs: list[DuplicatePair] = []
    for first, second in combinations([name for name in SPLITS if name in splits], 2):
        pairs += _between(splits, hashes, first, second, max_bits=max_bits, max_rms=max_rms)
    pairs.sort(key=lambda pair: (pair.rms, pair.split, pair.position, pair.other_position))
    return DuplicateReport(tuple(pairs), max_bits, max_rms)


def perceptual_hash(x: Images) -> NDArray[np.float32]:
    """Signs about their median of the 63 lowest cosine coefficients of the grey 32x32 image."""
    grey = x.mean(1, keepdim=True)
    if grey.shape[-2:] != (_SIDE, _SIDE):
        grey = interpolate(grey, (_SIDE, _SIDE), mode="bilinear", antialias=True)
    spectrum = dctn(grey[:, 0].numpy(), axes=(1, 2), norm="ortho")
    low = spectrum[:, :_LOW, :_LOW].reshape(len(x), -1)[:, 1:]
    signs = np.where(low > np.median(low, axis=1, keepdims=True), 1, -1)
    return signs.astype(np.float32)


def _between(
    splits: Mapping[str, Images],
    hashes: Mapping[str, NDArray[np.float32]],
    first: str,
    second: str,
    *,
    max_bits: int,
    max_rms: float,
) -> list[DuplicatePair]:
    pairs: list[DuplicatePair] = []
    width = hashes[first].shape[1]
    for start in range(0, len(hashes[first]), _BLOCK):
        bits = (width - hashes[first][start : start + _BLOCK] @ hashes[second].T) / 2
        rows, columns = np.nonzero(bits <= max_bits)
        rms = _rms(splits[first], torch.from_numpy(rows + start), splits[second], columns)
        for at in np.flatnonzero(rms <= max_rms):
            row, column = int(rows[at]), int(columns[at])
            pairs.append(
                DuplicatePair(
                    first, row + start, second, column, int(bits[row, column]), float(rms[at])
                )
            )
    return pairs


def _rms(
    first: Tensor, rows: Tensor, second: Tensor, columns: NDArray[np.intp]
) -> NDArray[np.float64]:
    parts = [
        (first[a] - second[b]).square().flatten(1).mean(1, dtype=torch.float64).sqrt()
        for a, b in zip(rows.split(_BLOCK), torch.from_numpy(columns).split(_BLOCK), strict=True)
    ]
    return torch.cat(parts).numpy() if parts else np.empty(0)
