"""PEEL by Gauss-Newton against the published penalty method: the gate.

    python benchmarks/peel.py [--images 8]     # about 2 CPU minutes

Trains a network of width 16 on 32x32 photo patches (scikit-image, scikit-learn), cuts it
after four blocks with identity skips and rebuilds patches of other photos from what crosses, both
ways in one run on one thread, times in CPU seconds, ours the median of three rounds that take
turns. It prints a JSON object and fails (exit 1) unless ours has

- image MSE at most 1e-9 for every image, and at most 1e-6 of the published method's median,
- at most 1/30 of its seconds an image, both on the same batch,
- a batch of 16 in less than half the time of 16 single images.

The claims P1 to P10 are set in docs/peel.md and answered by `splitveil reproduce peel`.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from splitveil.attacks.peel import Peel, PublishedPeel
from splitveil.reproduce.peel.networks import FOUR, accuracy, cut, patches, per_image, trained
from splitveil.rng import Rng
from splitveil.threat import Observation

EXACT, BETTER, FASTER, TOGETHER, ROUNDS = 1e-9, 1e-6, 1 / 30, 0.5, 3


def timed(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """CPU seconds of a call and what it returned."""
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def gate(images: int, out: Path | None) -> tuple[dict[str, Any], bool]:
    """Figures and whether all of them pass; the picture's arrays go to `out`."""
    net = trained(FOUR)
    x, _ = patches(16, left=False)
    knowledge, seen = cut(net, 4, x)
    few = Observation(seen.z[:images], seen.layout)
    ours = Peel().fit(knowledge, Rng(0))
    theirs = PublishedPeel().fit(knowledge, Rng(0))
    ours(Observation(seen.z[:1], seen.layout), Rng(1))  # warm up

    def singly() -> Tensor:
        return torch.cat([ours(Observation(z[None], seen.layout), Rng(1)) for z in seen.z])

    rounds = [
        (timed(lambda: ours(few, Rng(1))), timed(lambda: ours(seen, Rng(1))), timed(singly))
        for _ in range(ROUNDS)
    ]
    their_seconds, published = timed(lambda: theirs(few, Rng(1)))
    seconds = median(first[0] for first, _, _ in rounds)
    together = median(whole[0] / single[0] for _, whole, single in rounds)
    (_, found), (_, whole), (_, single) = rounds[0]
    mse, theirs_mse = per_image(found, x[:images]), per_image(published, x[:images])
    every = per_image(whole, x)
    passed = {
        "exact": float(torch.cat([every, mse]).max()) <= EXACT,
        "better": float(every.median() / theirs_mse.median()) <= BETTER,
        "faster": seconds / their_seconds <= FASTER,
        "together": together < TOGETHER,
    }
    figures = {
        "accuracy": accuracy(net),
        "images": images,
        "mse": {"median": float(every.median()), "worst": float(every.max())},
        "published mse": {"median": float(theirs_mse.median()), "least": float(theirs_mse.min())},
        "seconds an image": {"ours": seconds / images, "published": their_seconds / images},
        "ratio of seconds": seconds / their_seconds,
        "batch of 16 over 16 singles": together,
        "largest difference of batch and singles": float((whole - single).abs().max()),
        "gate": passed,
    }
    if out is not None:
        np.savez(out, x=x[:images].numpy(), ours=found.numpy(), published=published.numpy())
    return figures, all(passed.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=8, help="images both methods are timed on")
    parser.add_argument("--arrays", type=Path, default=None, help="where to write images (.npz)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    figures, passed = gate(arguments.images, arguments.arrays)
    print(json.dumps(figures, indent=1))
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
