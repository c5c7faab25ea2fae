"""Class-wise moments at every menu cut against the bare forward pass.

    python benchmarks/moments.py [--images 10000] [--network resnet] [--rounds 3]

Streams the official test images of Fashion-MNIST (the installed package) through a reference
network on one thread, in alternating rounds of the bare forward pass and of the pass with moments
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
from typing import Any

import torch
from torch import Tensor

from splitveil.data import load_data
from splitveil.estimators import (
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


def with_moments(traced: Traced, cuts: Sequence[Cut], x: Tensor, y: Tensor) -> dict[str, Moments]:
    """Moments with jackknife at every cut, from one pass."""
    ids = torch.arange(len(x))
    sizes = {
        name: part.size
        for cut in cuts
        for name, part in zip(traced.tensors(cut), cut.layout.parts, strict=True)
    }
    groups = groups_within(CLASSES, list(sizes.values()))
    sums = {name: ClassMoments(CLASSES, size, groups=groups) for name, size in sizes.items()}
    for chosen in stream_order(y, ids, groups).split(BATCH):
        for name, z in traced.stream(x[chosen], cuts):
            sums[name].update(z, y[chosen], ids[chosen])
    return {cut.id: joint_moments([sums[name] for name in traced.tensors(cut)]) for cut in cuts}


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


def two_pass(traced: Traced, cut: Cut, x: Tensor, y: Tensor) -> dict[str, float]:
    """The same figures from float64 means first and squares after."""
    means = torch.zeros(CLASSES, cut.layout.size, dtype=torch.float64)
    count = y.bincount(minlength=CLASSES)
    for start in range(0, len(x), BATCH):
        z = traced.features(x[start : start + BATCH], [cut])[cut.id].double()
        means.index_add_(0, y[start : start + BATCH], z)
    middle = means.sum(0) / len(x)
    means /= count.clamp_min(1)[:, None]
    scatter, total = torch.zeros(CLASSES, dtype=torch.float64), 0.0
    for start in range(0, len(x), BATCH):
        z = traced.features(x[start : start + BATCH], [cut])[cut.id].double()
        labels = y[start : start + BATCH]
        scatter.index_add_(0, labels, (z - means[labels]).square().sum(1))
        total += float((z - middle).square().sum())
    within = float(scatter.sum()) / len(x)
    between = float((count * (means - middle).square().sum(1)).sum()) / len(x)
    return {
        "within": within,
        "between": between,
        "total": total / len(x),
        "radius": float((scatter / count).mean()),
        "v": within / cut.layout.size,
        "rho": within / (within + between),
        "nc1": within / between,
    }


def largest_difference(traced: Traced, cuts: Sequence[Cut], x: Tensor, y: Tensor) -> float:
    """Largest relative difference between one pass and two, over cuts and figures."""
    streamed = with_moments(traced, cuts, x, y)
    worst = 0.0
    for cut in cuts:
        exact, found = two_pass(traced, cut, x, y), streamed[cut.id].values
        worst = max(worst, *(abs(found[name] / exact[name] - 1) for name in COMPARED))
    return worst


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
        with_moments(traced, cuts, x[: len(x) // 2], y[: len(x) // 2])
        half = peak_bytes()
        rounds = []
        for _ in range(options.rounds):
            plain = cpu_seconds(lambda: bare(network, x))[0]
            rounds.append((plain, cpu_seconds(lambda: with_moments(traced, cuts, x, y))[0]))
        whole = peak_bytes()
        geometry = cpu_seconds(lambda: with_geometry(traced, cuts, x, y))[0]
        difference = largest_difference(traced, cuts, x, y)
    ratios = [full / plain for plain, full in rounds]
    gates = {
        f"at most {GATE} times the forward pass": statistics.median(ratios) <= GATE,
        f"equal to two passes within {EQUAL}": difference <= EQUAL,
        "memory independent of the number of images": whole <= 1.05 * half,
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
        "peak_MB": [round(half / 1e6), round(whole / 1e6)],
        "gates": gates,
    }
    print(json.dumps(figures, indent=1))
    raise SystemExit(0 if all(gates.values()) else 1)


if __name__ == "__main__":
    main()
