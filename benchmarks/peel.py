"""PEEL by Gauss-Newton against the published penalty method: the gate, and P1, P2 and P5.

    python benchmarks/peel.py [--images 8]     # about 4 CPU minutes

Trains a network of width 16 on 32x32 photo patches (scikit-image, scikit-learn), cuts it
after four blocks with identity skips and rebuilds patches of other photos from what crosses, both
ways in one run on one thread, times in CPU seconds. It prints a JSON object and fails (exit 1)
unless ours has

- image MSE at most 1e-9 for every image, and at most 1e-6 of the published method's median,
- at most 1/30 of its seconds an image, both on the same batch,
- a batch of 16 in less than half the time of 16 single images.

The claims P1 to P8 are set in docs/peel.md; the others are answered by peel_claims.py.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from splitveil.attacks.peel import Peel, PublishedPeel
from splitveil.estimators.bootstrap import mean_interval
from splitveil.partition import trace
from splitveil.quantities import Kind, Quantity
from splitveil.reproduce.claims import Criterion
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Observation, WhiteBox, white_box
from splitveil.training import Schedule, fit

FOUR = ((16, 16, 1),) * 4
EXACT, BETTER, FASTER, TOGETHER = 1e-9, 1e-6, 1 / 30, 0.5


class Block(nn.Module):
    """c x + W2 relu(W1 x), with a 1x1 convolution on the skip where shapes differ."""

    def __init__(self, inputs: int, outputs: int, stride: int, skip: float) -> None:
        nn.Module.__init__(self)
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.relu = nn.ReLU()
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        same = stride == 1 and inputs == outputs
        self.skip: nn.Module = (
            nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        )
        self.share = skip

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.second(self.relu(self.first(x)))
        if self.share == 0:
            return branch
        return branch + (self.skip(x) if self.share == 1 else self.share * self.skip(x))


def network(
    blocks: tuple[tuple[int, int, int], ...], *, skip: float = 1.0, seed: int = 0
) -> nn.Sequential:
    """Stem, blocks, average pool, linear layer, as drawn."""
    with Rng(0, ("peel", "network")).as_global():
        return nn.Sequential(
            nn.Conv2d(3, blocks[0][0], 3, 1, 1, bias=False),
            nn.ReLU(),
            *(Block(*block, skip) for block in blocks),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(blocks[-1][1], 6),
        ).eval()


def patches(n: int, *, left: bool, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Patches of 64x64 from one half of six photographs, halved in size; the label is the photo."""
    import skimage.data
    from sklearn.datasets import load_sample_images

    data: Any = skimage.data
    names = (data.astronaut, data.chelsea, data.coffee, data.rocket)
    samples: Any = load_sample_images
    photos = [*samples().images, *(name() for name in names)]
    draw = Rng(seed, ("peel", "patches", str(left))).numpy()
    which = draw.integers(len(photos), size=n)
    found = []
    for k in which:
        photo = photos[k]
        middle = photo.shape[1] // 2
        half = photo[:, :middle] if left else photo[:, middle:]
        i, j = draw.integers(half.shape[0] - 64), draw.integers(half.shape[1] - 64)
        found.append(torch.from_numpy(half[i : i + 64, j : j + 64].astype(np.float32) / 255))
    x = F.avg_pool2d(torch.stack(found).permute(0, 3, 1, 2), 2)
    return x.contiguous(), torch.from_numpy(which)


def trained(net: nn.Sequential) -> tuple[nn.Sequential, float]:
    """Three epochs over 2000 patches; accuracy on other halves of the photos."""
    x, y = patches(2000, left=True)
    fit(
        net,
        lambda module, i, _: F.cross_entropy(module(x[i]), y[i]),
        size=len(x),
        schedule=Schedule(epochs=3, batch=64, learning_rate=1e-3),
        rng=Rng(0, ("peel", "training")),
    )
    x_test, y_test = patches(300, left=False, seed=1)
    with torch.no_grad():
        return net.eval(), float((net(x_test).argmax(1) == y_test).float().mean())


def cut(net: nn.Sequential, blocks: int, x: Tensor) -> tuple[WhiteBox, Observation]:
    """What the attacker knows of a cut after so many blocks, and what it sees of x."""
    traced = trace(net, x[:2])
    partition = traced.split(traced.cut(str(blocks + 1)))
    z = partition.transmit(x, Rng(0)).detach()[:, None]
    return white_box(partition, Auxiliary(x[:2])), Observation(z, partition.cut.layout)


def per_image(found: Tensor, x: Tensor) -> Tensor:
    """Mean squared error of each image, in float64."""
    return (found.double() - x.double()).square().flatten(1).mean(1)


def timed(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """CPU seconds of a call and what it returned."""
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def measured(values: Tensor | np.ndarray, unit: str, *, rng: Rng) -> Quantity:
    """A mean over images with its bootstrap interval."""
    array = np.asarray(values, dtype=np.float64)
    interval = mean_interval(array, rng)
    return Quantity(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        unit=unit,
        kind=Kind.MEASURED,
        n=len(array),
    )


def answer(criterion: Criterion, quantity: Quantity) -> dict[str, Any]:
    return {
        "claim": str(criterion),
        "found": str(quantity),
        "n": quantity.n,
        "verdict": str(criterion.of(quantity)),
    }


def gate(images: int, out: Path | None) -> tuple[dict[str, Any], bool]:
    """P1, P2 and P5 with the gate; the picture's arrays go to `out`."""
    net, accuracy = trained(network(FOUR))
    x, _ = patches(16, left=False)
    knowledge, seen = cut(net, 4, x)
    few = Observation(seen.z[:images], seen.layout)
    ours = Peel().fit(knowledge, Rng(0))
    theirs = PublishedPeel().fit(knowledge, Rng(0))
    ours(Observation(seen.z[:1], seen.layout), Rng(1))  # warm up
    seconds, found = timed(lambda: ours(few, Rng(1)))
    whole_seconds, whole = timed(lambda: ours(seen, Rng(1)))
    single_seconds, single = timed(
        lambda: torch.cat([ours(Observation(z[None], seen.layout), Rng(1)) for z in seen.z])
    )
    their_seconds, published = timed(lambda: theirs(few, Rng(1)))
    oracle = reset(theirs, net, x[:images])
    mse, theirs_mse = per_image(found, x[:images]), per_image(published, x[:images])
    every = per_image(whole, x)
    ratio = torch.log10(every[:images] / theirs_mse)
    figures = {
        "accuracy": accuracy,
        "images": images,
        "mse": {"median": float(every.median()), "worst": float(every.max())},
        "published mse": {"median": float(theirs_mse.median()), "least": float(theirs_mse.min())},
        "published with oracle resets, block inputs relative mse": oracle,
        "seconds an image": {"ours": seconds / images, "published": their_seconds / images},
        "batch of 16 over 16 singles": whole_seconds / single_seconds,
        "largest difference of batch and singles": float((whole - single).abs().max()),
    }
    passed = {
        "exact": float(torch.cat([every, mse]).max()) <= EXACT,
        "better": float(every.median() / theirs_mse.median()) <= BETTER,
        "faster": seconds / their_seconds <= FASTER,
        "together": whole_seconds / single_seconds < TOGETHER,
    }
    figures["gate"] = passed
    figures["P1"] = [
        answer(
            Criterion(measured="log10 image MSE", high=-8),
            measured(torch.log10(every), "", rng=Rng(0, ("P1",))),
        ),
        answer(
            Criterion(measured="log10 MSE over published", high=-3),
            measured(ratio, "", rng=Rng(0, ("P1 ratio",))),
        ),
    ]
    figures["P2"] = {
        "seconds over published": seconds / their_seconds,
        "holds": seconds / their_seconds <= 0.1 and passed["together"],
    }
    if out is not None:
        np.savez(out, x=x[:images].numpy(), ours=found.numpy(), published=published.numpy())
    return figures, all(passed.values())


def reset(theirs: Any, net: nn.Sequential, x: Tensor) -> list[float]:
    """The published method given the true output of every block: a yardstick, no attack."""
    values, errors = x, []
    truth = [x]
    for layer in list(net)[:6]:
        with torch.no_grad():
            values = layer(values)
        truth.append(values)
    for stage, before, after in zip(
        reversed(theirs.stages[1:]), truth[5:1:-1], truth[6:2:-1], strict=True
    ):
        found = theirs.invert(stage, after, Rng(1, (stage.name,)))
        error = (found - before).square().flatten(1).sum(1)
        errors.append(float((error / before.square().flatten(1).sum(1)).median()))
    return errors


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
