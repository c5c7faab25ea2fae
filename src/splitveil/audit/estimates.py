"""What trials are expected to cost, from operation counts and the speed of this machine."""

import os
import time
from dataclasses import dataclass
from math import prod

import torch

from splitveil.partition.types import Cut
from splitveil.records import Task

_GUESS = 10.0
_START = 0.4
"""Seconds a trial takes whatever it does: intervals, artefact, one line."""

_FASTEST = 4e10
"""Beyond this rate of matrix products the rest of a trial is what takes the time."""

WORKER_BYTES = 380_000_000
"""Resident memory of a process that has loaded torch, a small model and a data set."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Counts that costs depend on.

    Images of each split, the shape of one, FLOPs of the model for one, and `rate`, the float32
    operations a second of one thread.
    """

    auxiliary: int
    validation: int
    test: int
    shape: tuple[int, ...]
    flops: float
    rate: float

    @property
    def values(self) -> int:
        """Values an image."""
        return prod(self.shape)


def measure_rate(seconds: float = 0.05) -> float:
    """Float32 operations a second of matrix products on the threads torch may use now."""
    side = 384
    a = torch.ones(side, side)
    total, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        a @ a
        total += 2 * side**3
    return min(total / spent, _FASTEST)


def expected_seconds(task: Task, method: str, cut: Cut | None, sizes: Sizes) -> float:
    """Seconds one thread needs for a trial, right within a factor of two on small networks.

    `cut` is None for a pass over all cuts. An attack that is not ours counts as a guess; what the
    first of them takes corrects the others.
    """
    images = sizes.auxiliary + sizes.validation + sizes.test
    depth = 1.0 if cut is None else cut.depth
    forward = 0.6 * images * depth * sizes.flops / sizes.rate
    features = 0 if cut is None else cut.layout.size
    if task is Task.MOMENTS:
        return _START + 4 * forward
    if task is Task.BOUND:
        return _START + forward + _claim(method, features, sizes)
    if task is not Task.ATTACK:
        return _START + forward
    return _START + forward + _attack(method, features, sizes) / sizes.rate


def _claim(method: str, f: int, sizes: Sizes) -> float:
    """Seconds of a claim beside the forward passes; fitted to timings."""
    private = (sizes.validation + sizes.test) / 1500
    seconds = {
        "bounds": 0.5 + 1.5e-3 * f * private,
        "noise_needed": 2.0 + 3e-4 * f * private,
        "proxies": (15 + 1e-3 * f) * private,
        "calibration": 60.0 * private,
        "twin": 20.0 + 0.05 * sizes.values + 65_536 * 2 * sizes.flops / sizes.rate,
    }
    return float(seconds.get(method.partition("(")[0], 1.0))


def _attack(method: str, f: int, sizes: Sizes) -> float:
    """Float32 operations of fitting and using an attack, heads left out; fitted to timings."""
    n, d, asked = sizes.auxiliary, sizes.values, sizes.validation + sizes.test
    small = min(n, f)
    patch = 9e10 + 50 * n * f
    ridge = 2 * n * f * small + 10 * small**3 + 4 * small**2 * d + 2 * asked * f * d
    operations = {
        "MeanImage": 2 * n * d,
        "ClassMean": 2 * n * d,
        "NearestAuxiliary": 2 * (n + asked * n) * f,
        "PatchRidge": patch,
        "Ridge": ridge,
        "Decoder": patch + ridge + _epochs(method) * n * 3.2e4 * d,
    }
    return float(operations.get(method.partition("(")[0], _GUESS * sizes.rate))


def _epochs(method: str) -> float:
    _, found, rest = method.partition("epochs=")
    digits = rest.partition(",")[0].rstrip(") ")
    return float(digits) if found and digits.isdigit() else 4.0


def expected_bytes(cut: Cut | None, sizes: Sizes) -> int:
    """Memory a trial needs beside what its process holds: features, a copy, a Gram matrix."""
    if cut is None:
        return 4 * 256 * sizes.values * 8
    f, n = cut.layout.size, sizes.auxiliary
    needed = 4 * (2 * n * f + 2 * 256 * f) + 24 * min(n, f) ** 2 + 8 * f * min(n, sizes.values)
    return int(1.15 * needed) + 80_000_000


def machine_bytes() -> int:
    """Memory of this machine, or 8 GB where it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 8_000_000_000
