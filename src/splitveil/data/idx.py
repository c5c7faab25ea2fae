"""The IDX format of the MNIST family: a typed header, then raw big-endian values."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from splitveil.errors import BadData

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzipped or not, into an array of its declared shape.

    Raises:
        BadData: if the file is missing, is not IDX, holds another type, or is cut short.
    """
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except OSError as error:
        raise BadData(f"cannot read {path}: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise BadData(f"{path} is a damaged gzip file ({error}): fetch it again") from error
    if len(raw) < 4 or raw[:2] != b"\x00\x00":
        raise BadData(f"{path} is not an IDX file: it does not start with two zero bytes")
    kind, axes = raw[2], raw[3]
    if kind != _UNSIGNED_BYTE:
        raise BadData(f"{path} holds IDX type 0x{kind:02x}: only unsigned bytes (0x08) are read")
    start = 4 + 4 * axes
    if len(raw) < start:
        raise BadData(f"{path} is cut short inside its header: fetch it again")
    shape = struct.unpack(f">{axes}I", raw[4:start])
    expected = int(np.prod(shape))
    if len(raw) - start != expected:
        raise BadData(
            f"{path} declares shape {shape} = {expected} bytes but holds {len(raw) - start}: "
            "fetch it again"
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)
