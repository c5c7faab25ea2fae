"""What trials are expected to cost, from operation counts and the speed of this machine."""

import os
import time
from dataclasses import dataclass
from math import prod

import torch

from splitveil import attacks
from splitveil.attacks.base import Attack
from splitveil.audit.recipes import read_attack
from splitveil.partition.types import Cut
from splitveil.records import Task

_GUESS = 10.0
_START = 0.4
"""Seconds a trial takes whatever it does: intervals, artefact, one line."""

_STEP = 6e6
"""Operations' worth of time that each image of a training step takes, however small the network."""

_FASTEST = 4e10
"""Beyond this rate of matrix products the rest of a trial is what takes the time."""

_STEPS = 400.0
"""Steps of a search that leaves their number open."""

_REFERENCE = 3.3e10
"""Operations a second where the seconds and shares of attacks were measured."""

_SHARES = {
    "AdversarialDecoder": 2.2,
    "AttentionDecoder": 3.7,
    "Decoder": 1.0,
    "EnhancedDecoder": 1.1,
    "EnhancedRepresentation": 0.7,
    "InverseResidual": 1.0,
    "ShadowEncoder": 1.3,
    "SmallDecoder": 0.6,
    "Unrolled": 3.6,
}
"""What an epoch of each takes, against one of `Decoder`."""

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
    if method.partition("(")[0] not in attacks.__all__:
        return _GUESS * sizes.rate
    return _of(read_attack(method)[1], f, sizes)


def _of(attack: Attack, f: int, sizes: Sizes) -> float:
    n, d, asked = sizes.auxiliary, sizes.values, sizes.validation + sizes.test
    starts = _setting(attack, "restarts", 1.0)
    found = {
        "MeanImage": 2.0 * n * d,
        "ClassMean": 2.0 * n * d,
        "NearestAuxiliary": 2.0 * (n + asked * n) * f,
        "NearestFeatures": 6.0 * n * (512 + asked) * (f + d),
        "PosteriorMean": 8.0 * n * (256 + asked) * (f + d),
        "PatchRidge": _patch(f, sizes),
        "Ridge": _ridge(f, sizes),
        "PartialLeastSquares": 15.0 * _REFERENCE,
        "Likelihood": _search(attack, sizes) * _REFERENCE,
        "DeepImagePrior": 3e-3 * _setting(attack, "steps", 1.0) * starts * asked * _REFERENCE,
        "Refined": (2.0 + 9e-3 * asked) * _REFERENCE,
        "UnSplit": 0.107 * asked * _REFERENCE,
    }.get(type(attack).__name__, 0.0) + _training(attack, f, sizes)
    inner = [getattr(attack, name, None) for name in ("attack", "decoder")]
    found += sum(_of(one, f, sizes) for one in inner if isinstance(one, Attack))
    return found or _GUESS * sizes.rate


def _setting(attack: Attack, name: str, otherwise: float) -> float:
    """A number among an attack's settings; `otherwise` where it has none or leaves it open."""
    found = getattr(attack, name, None)
    return otherwise if found is None else float(found)


def _search(attack: Attack, sizes: Sizes) -> float:
    """Seconds of tuning on a few images and of searching each, on 1,024 values."""
    share = _setting(attack, "steps", _STEPS) / _STEPS * sizes.values / 1024
    asked = sizes.validation + sizes.test
    tuning = 3.0 * _setting(attack, "tuning", 8.0)
    return share * (tuning + 0.2 * _setting(attack, "restarts", 1.0) * asked) + 1.0


def _training(attack: Attack, f: int, sizes: Sizes) -> float:
    """Operations of training a network, what each step takes anyway, and of the ridges before."""
    name = type(attack).__name__
    if name not in _SHARES:
        return 0.0
    width, depth = (attack.width, attack.depth) if isinstance(attack, attacks.Decoder) else (64, 2)
    step = 2.6 * width**2 * (depth + 1) * sizes.values + _STEP
    epochs = _setting(attack, "epochs", 0.0)
    ridges = getattr(attack, "start", "") == "ridges"
    start = _patch(f, sizes) + _ridge(f, sizes) if ridges else 0.0
    return _SHARES[name] * epochs * sizes.auxiliary * step + start


def _patch(f: int, sizes: Sizes) -> float:
    return 9e10 + 50.0 * sizes.auxiliary * f


def _ridge(f: int, sizes: Sizes) -> float:
    n, d, asked = sizes.auxiliary, sizes.values, sizes.validation + sizes.test
    small = min(n, f)
    return 2.0 * n * f * small + 10 * small**3 + 4 * small**2 * d + 2 * asked * f * d


def expected_bytes(cut: Cut | None, sizes: Sizes) -> int:
    """Memory a trial needs beside what its process holds.

    Features, a few images' three times more, a linear map to the targets, three Gram matrices.
    """
    if cut is None:
        return 4 * 256 * sizes.values * 8
    f, n = cut.layout.size, sizes.auxiliary
    needed = 4 * f * (n + 3 * 256 + min(n, sizes.values)) + 24 * min(n, f) ** 2
    return int(1.15 * needed) + 80_000_000


def machine_bytes() -> int:
    """Memory of this machine, or 8 GB where it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 8_000_000_000
