"""The genie-gallery bound at the sizes it is meant for: time and memory.

    python benchmarks/genie_gallery.py

Two runs, one JSON line:

- unlimited data: 20 galleries of 10,000 random targets of 28x28, z of 2048 values, generated block
  by block from a fixed seed, 260 draws in all. Fails (exit 1) unless it takes at most 20 s on two
  idle cores, generation included, and memory grows by at most `BLOCKS_HELD` blocks while the
  galleries stream by.
- Fashion-MNIST, if its package is installed: 20 disjoint galleries of 400 through a random ReLU
  layer of 2048 units, nested sizes 50, 150, 400, at several noises.

About 1 CPU minute.
"""

import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from splitveil.data import load_data
from splitveil.measures import GalleryBlock, genie_curve, genie_stream
from splitveil.release import ClippedGaussian, GaussianNoise
from splitveil.rng import Rng

PIXELS, FEATURES, GALLERY, BLOCK = 784, 2048, 10_000, 1_000
BLOCKS_HELD = 32  # of 200 that stream by; about 7 are alive, the allocator keeps others
RELEASE = ClippedGaussian(torch.zeros(FEATURES), 60.0, 20.0)
PACKAGE = Path("/usr/share/datasets/fashion-mnist")


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def gallery(index: int, head: Tensor, size: int = GALLERY) -> Iterator[GalleryBlock]:
    for start in range(0, size, BLOCK):
        x = torch.rand(BLOCK, PIXELS, generator=Rng(0, ("x", str(index), str(start))).torch())
        yield GalleryBlock(x, (x @ head).relu())


def streamed(galleries: int, hidden: int, head: Tensor) -> tuple[float, float]:
    """Wall and processor seconds, generation included."""
    wall, cpu = time.monotonic(), time.process_time()
    genie_stream((gallery(i, head) for i in range(galleries)), RELEASE, Rng(1), hidden=hidden)
    return time.monotonic() - wall, time.process_time() - cpu


def fashion(head: Tensor) -> dict[str, list[float]] | None:
    """The bound at nested sizes for each noise, relative to the variance of a pixel."""
    if not PACKAGE.is_dir():
        return None
    data = load_data("fashion-mnist", size=28, channels=1, rng=Rng(0))
    x = data.test.x
    features = (x.flatten(1) @ head).relu()
    other = (data.auxiliary.x[:2000].flatten(1) @ head).relu()
    variance = float((x - x.mean(0)).square().mean())
    found = {}
    for sigma in (3.0, 10.0, 30.0):
        release = GaussianNoise(sigma=sigma).fit(other)
        points = genie_curve(x, features, release, Rng(1), sizes=(50, 150, 400), draws=1)
        found[f"sigma {sigma} rms"] = [round(p.bound.value / variance, 4) for p in points]
    return found


def main() -> None:
    head = torch.randn(PIXELS, FEATURES, generator=Rng(0, ("head",)).torch()) / PIXELS**0.5
    genie_stream((gallery(i, head, 2 * BLOCK) for i in range(20)), RELEASE, Rng(1), hidden=13)
    before = peak_bytes()
    wall, cpu = streamed(20, 13, head)
    block = BLOCK * (PIXELS + FEATURES) * 8
    grown = peak_bytes() - before
    gates = {
        "galleries of 10,000, 260 draws within 20 s": wall <= 20,
        "memory does not follow the gallery": grown <= BLOCKS_HELD * block,
    }
    figures = {
        "20 galleries, 13 draws each: wall_s": round(wall, 1),
        "20 galleries, 13 draws each: cpu_s": round(cpu, 1),
        "memory grown, blocks": round(grown / block, 2),
        "Fashion-MNIST, bound over variance at 50, 150, 400": fashion(head),
        "gates": gates,
    }
    print(json.dumps(figures, indent=1))
    raise SystemExit(0 if all(gates.values()) else 1)


if __name__ == "__main__":
    main()
