"""Small real files of every kind of data that is read."""

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def random_bytes(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_idx(path: Path, array: NDArray[np.uint8]) -> Path:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 0x08, array.ndim, *array.shape)
    raw = header + array.tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def write_picture(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def class_folder(folder: Path, *, each: int = 20, names: tuple[str, ...] = ("cat", "dog")) -> Path:
    for at, name in enumerate(names):
        for number in range(each):
            write_picture(
                folder / name / f"{number:03}.png", random_bytes(8, 8, 3, seed=100 * at + number)
            )
    return folder
