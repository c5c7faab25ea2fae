"""Class-wise moments at every menu cut against the bare forward pass.

    python benchmarks/moments.py [--images 10000] [--network resnet] [--rounds 3]

Streams the official test images of Fashion-MNIST (the installed package) through a reference
network on one thread, a few batches of the bare forward pass and of the pass with moments in turn
(S_W, S_B, S_T, R_c^2, v, rho, nc1 and leak(e) with jackknife groups), and prints a JSON line. Fails
(exit 1) unless

- the median over rounds of the ratio of CPU times, results included, is at most 1.3;
- every figure equals the two-pass calculation in float64 within 1e-6, relative;
- twice the images take no more memory than once (5 % for the allocator).

The cost of what comes from sketches (nearest-class-centre accuracy, effective rank) is reported.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from splitveil.data import load_data
from splitveil.estimators import (
    Cells,
    ClassGeometry,
    ClassMoments,
    Geometry,
    Moments,
    groups_within,
    joint_moments,
    stream_order,
)
from splitveil.models import load_model
from splitveil.partition import Cut, Traced, trace
from splitveil.rng import Rng

BATCH = 64
TURN = 8  # batches of one kind before as many of the other
CLASSES = 10
GATE = 1.3
EQUAL = 1e-6
COMPARED = ("within", "between", "total", "radius", "v", "rho", "nc1")


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU time of a call, system time included, and what it returned."""
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def images(limit: int) -> tuple[Tensor, Tensor]:
    """Fashion-MNIST's official test images as the networks take them."""
    splits = load_data("fashion-mnist", size=32, channels=1, classes=None, rng=Rng(0))
    parts = (splits.validation, splits.test)
    x = torch.cat([part.x for part in parts])[:limit]
    y = torch.cat([part.y for part in parts if part.y is not None])[:limit]
    return x, y


def side_by_side(
    network: torch.nn.Module, traced: Traced, cuts: Sequence[Cut], x: Tensor, y: Tensor
) -> tuple[float, float, dict[str, Moments]]:
    """CPU seconds of the bare pass and of the pass with moments, a few batches of each in turn.

    The second holds everything: order, updates, and the figures with their jackknife.
    """
    plain = full = 0.0
    ids = torch.arange(len(x))
    seconds, (groups, sums, order) = cpu_seconds(lambda: begin(traced, cuts, y, ids))
    full += seconds
    for turn in order.split(TURN * BATCH):
        plain += cpu_seconds(partial(bare, network, x[turn]))[0]
        full += cpu_seconds(partial(take, traced, cuts, x[turn], y[turn], ids[turn], groups, sums))[
            0
        ]
    seconds, found = cpu_seconds(
        lambda: {
            cut.id: joint_moments([sums[name] for name in traced.tensors(cut)]) for cut in cuts
        }
    )
    return plain, full + seconds, found


def begin(
    traced: Traced, cuts: Sequence[Cut], y: Tensor, ids: Tensor
) -> tuple[int, dict[str, ClassMoments], Tensor]:
    """Groups, an accumulator for every tensor that crosses, and the order of the images."""
    sizes = {
        name: part.size
        for cut in cuts
        for name, part in zip(traced.tensors(cut), cut.layout.parts, strict=True)
    }
    groups = groups_within(CLASSES, list(sizes.values()))
    sums = {name: ClassMoments(CLASSES, size, groups=groups) for name, size in sizes.items()}
    return groups, sums, stream_order(y, ids, groups)


def take(
    traced: Traced,
    cuts: Sequence[Cut],
    x: Tensor,
    y: Tensor,
    ids: Tensor,
    groups: int,
    sums: dict[str, ClassMoments],
) -> None:
    """Stream images through the network into the accumulators."""
    for pixels, labels, names in zip(*(part.split(BATCH) for part in (x, y, ids)), strict=True):
        cells = Cells.of(labels, names, CLASSES, groups)
        for name, z in traced.stream(pixels, cuts):
            sums[name].add(z, cells)


def with_geometry(traced: Traced, cuts: Sequence[Cut], x: Tensor, y: Tensor) -> dict[str, Geometry]:
    """What comes from sketches at every cut, from one pass."""
    sums = {cut.id: ClassGeometry(CLASSES, cut.layout.size) for cut in cuts}
    for chosen in torch.arange(len(x)).split(BATCH):
        for name, z in traced.features(x[chosen], cuts).items():
            sums[name].update(z, y[chosen], chosen)
    return {name: geometry.result() for name, geometry in sums.items()}


def bare(network: torch.nn.Module, x: Tensor) -> None:
    """The forward pass alone."""
    for start in range(0, len(x), BATCH):
        network(x[start : start + BATCH])


def two_pass(
    traced: Traced, cuts: Sequence[Cut], x: Tensor, y: Tensor
) -> dict[str, dict[str, float]]:
    """The same figures of every cut from float64 means first and squares after."""
    count = y.bincount(minlength=CLASSES)
    means = {c.id: torch.zeros(CLASSES, c.layout.size, dtype=torch.float64) for c in cuts}
    for part, labels in zip(x.split(BATCH), y.split(BATCH), strict=True):
        for name, z in traced.features(part, cuts).items():
            means[name].index_add_(0, labels, z.double())
    middle = {name: total.sum(0) / len(x) for name, total in means.items()}
    for total in means.values():
        total /= count.clamp_min(1)[:, None]
    scatter = {name: torch.zeros(CLASSES, dtype=torch.float64) for name in means}
    whole = dict.fromkeys(means, 0.0)
    for part, labels in zip(x.split(BATCH), y.split(BATCH), strict=True):
        for name, z in traced.features(part, cuts).items():
            wide = z.double()
            scatter[name].index_add_(0, labels, (wide - means[name][labels]).square().sum(1))
            whole[name] += float((wide - middle[name]).square().sum())
    return {
        cut.id: derived(cut, count, means[cut.id], middle[cut.id], scatter[cut.id], whole[cut.id])
        for cut in cuts
    }


def derived(
    cut: Cut, count: Tensor, mean: Tensor, middle: Tensor, scatter: Tensor, total: float
) -> dict[str, float]:
    """Figures of one cut from class means and sums of squares about them."""
    images = int(count.sum())
    within = float(scatter.sum()) / images
    between = float((count * (mean - middle).square().sum(1)).sum()) / images
    return {
        "within": within,
        "between": between,
        "total": total / images,
        "radius": float((scatter / count).mean()),
        "v": within / cut.layout.size,
        "rho": within / (within + between),
        "nc1": within / between,
    }


def largest_difference(streamed: dict[str, Moments], exact: dict[str, dict[str, float]]) -> float:
    """Largest relative difference between one pass and two, over cuts and figures."""
    return max(
        abs(streamed[cut].values[name] / figures[name] - 1)
        for cut, figures in exact.items()
        for name in COMPARED
    )


def peak_bytes() -> int:
    """The largest resident set so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--network", default="resnet")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    x, y = images(options.images)
    network = load_model(options.network).network
    traced = trace(network, x[:2])
    cuts = traced.menu()
    with torch.no_grad():
        half = len(x) // 2
        side_by_side(network, traced, cuts, x[:half], y[:half])
        peak_half = peak_bytes()
        rounds = []
        for _ in range(options.rounds):
            *seconds, found = side_by_side(network, traced, cuts, x, y)
            rounds.append(seconds)
        peak = peak_bytes()
        geometry = cpu_seconds(lambda: with_geometry(traced, cuts, x, y))[0]
        difference = largest_difference(found, two_pass(traced, cuts, x, y))
    ratios = [full / plain for plain, full in rounds]
    gates = {
        f"at most {GATE} times the forward pass": statistics.median(ratios) <= GATE,
        f"equal to two passes within {EQUAL}": difference <= EQUAL,
        "memory independent of the number of images": peak <= 1.05 * peak_half,
    }
    figures = {
        "images": len(x),
        "cuts": len(cuts),
        "values_an_image": sum(cut.layout.size for cut in cuts),
        "forward_cpu_s": [round(plain, 2) for plain, _ in rounds],
        "moments_cpu_s": [round(full, 2) for _, full in rounds],
        "ratios": [round(ratio, 3) for ratio in ratios],
        "sketched_cpu_s": round(geometry, 2),
        "largest_difference": difference,
        "peak_MB": [round(peak_half / 1e6), round(peak / 1e6)],
        "gates": gates,
    }
    print(json.dumps(figures, indent=1))
    raise SystemExit(0 if all(gates.values()) else 1)


if __name__ == "__main__":
    main()
