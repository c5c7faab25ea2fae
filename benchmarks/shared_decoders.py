"""Decoders at K cuts from one forward pass against K separate runs.

    python benchmarks/shared_decoders.py [--images 1024] [--network vgg] [--cuts 6] [--rounds 3]

About 1.5 CPU minutes as it stands. Fits a small decoder at the K deepest cuts of a reference
network, where a separate run costs a whole forward pass, to bundled Fashion-MNIST images on one
thread: once all together, from one forward pass, and once each by itself. F is the CPU time of that
pass, G_k that of all else of the run at cut k, both measured here; every time is the least over
alternating rounds, as whatever else the machine does only adds to it. Prints a JSON line and fails
(exit 1) unless

- the CPU time of all together is at most 1.1 (F + sum G_k) / (K F + sum G_k) of the separate runs';
- reconstructions of 100 test images agree within 1e-6.

A second figure, without a gate: three decoders at one cut with shared ridges, against each with its
own.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from splitveil.attacks import Decoder, EnhancedDecoder, SmallDecoder
from splitveil.attacks.evidence import encode
from splitveil.attacks.inverse_network import InverseNetwork
from splitveil.attacks.shared import Fitting, shared_decoders, shared_features
from splitveil.data import load_data
from splitveil.models import load_model
from splitveil.partition import Cut, Traced, trace
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Observation, white_box

SLACK = 1.1
EQUAL = 1e-6
TESTED = 100


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU time of a call, system time included, and what it returned."""
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def rebuilt(fitted: Any, traced: Traced, cut: Cut, x: Tensor, y: Tensor) -> Tensor:
    z = shared_features(traced, [cut], x)[cut.id]
    found: Tensor = fitted(Observation(z[:, None], cut.layout, y), Rng(0))
    return found


def one_round(
    traced: Traced, fittings: Sequence[Fitting], x: Tensor
) -> tuple[float, float, list[float], list[float]]:
    """CPU times of the one pass, of all together, of each separate run, and of each run's head."""
    cuts = [fitting.cut for fitting in fittings]
    forward, _ = cpu_seconds(lambda: shared_features(traced, cuts, x))
    together, _ = cpu_seconds(lambda: list(shared_decoders(fittings, traced)))
    own, heads = [], []
    for fitting in fittings:
        own.append(cpu_seconds(partial(fitting.attack.fit, fitting.knowledge, fitting.rng))[0])
        heads.append(cpu_seconds(partial(encode, fitting.knowledge, x))[0])
    return forward, together, own, heads


def fittings_of(
    traced: Traced, cuts: Sequence[Cut], auxiliary: Auxiliary, attacks: Sequence[InverseNetwork]
) -> list[Fitting]:
    """Every attack at every cut, each cut's with one stream and one knowledge."""
    found = []
    for cut in cuts:
        knowledge = white_box(traced.split(cut), auxiliary)
        found += [Fitting(cut, attack, knowledge, Rng(0, (cut.id,))) for attack in attacks]
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--network", default="vgg")
    parser.add_argument("--cuts", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_data("demo", size=32, channels=1, classes=None, rng=Rng(0))
    assert data.auxiliary.y is not None
    assert data.test.y is not None
    auxiliary = Auxiliary(data.auxiliary.x[: options.images], data.auxiliary.y[: options.images])
    x, y = data.test.x[:TESTED], data.test.y[:TESTED]
    traced = trace(load_model(options.network).network, x[:2])
    cuts = traced.menu()[-options.cuts :]
    attack = SmallDecoder(epochs=1, start="mean")
    fittings = fittings_of(traced, cuts, auxiliary, [attack])

    # modules are imported and kernels chosen on the first call
    assert auxiliary.y is not None
    few = Auxiliary(auxiliary.x[:64], auxiliary.y[:64])
    list(shared_decoders(fittings_of(traced, cuts[:1], few, [attack]), traced))
    rounds = [one_round(traced, fittings, auxiliary.x) for _ in range(options.rounds)]
    forward = min(each[0] for each in rounds)
    together = min(each[1] for each in rounds)
    own = [min(times) for times in zip(*(each[2] for each in rounds), strict=True)]
    heads = [min(times) for times in zip(*(each[3] for each in rounds), strict=True)]
    worst = 0.0
    for fitting, (_, _, fitted) in zip(fittings, shared_decoders(fittings, traced), strict=True):
        alone = fitting.attack.fit(fitting.knowledge, fitting.rng)
        one, two = (rebuilt(each, traced, fitting.cut, x, y) for each in (fitted, alone))
        worst = max(worst, float((one - two).abs().max()))
    rest = [spent - head for spent, head in zip(own, heads, strict=True)]
    count, training = len(cuts), sum(rest)
    allowed = SLACK * (forward + training) / (count * forward + training)

    capacities: list[InverseNetwork] = [
        SmallDecoder(epochs=1),
        EnhancedDecoder(epochs=1),
        Decoder(epochs=1, width=32, depth=1),
    ]
    several = fittings_of(traced, cuts[-1:], auxiliary, capacities)
    once, _ = cpu_seconds(lambda: list(shared_decoders(several, traced)))
    apart = sum(cpu_seconds(partial(f.attack.fit, f.knowledge, f.rng))[0] for f in several)

    gates = {
        f"CPU time at most {SLACK} (F + sum G) / (K F + sum G)": together / sum(own) <= allowed,
        f"same reconstructions within {EQUAL}": worst <= EQUAL,
    }
    figures = {
        "images": options.images,
        "cuts": [cut.name for cut in cuts],
        "F_cpu_s": round(forward, 2),
        "heads_cpu_s": [round(value, 2) for value in heads],
        "G_cpu_s": [round(value, 2) for value in rest],
        "together_cpu_s": round(together, 2),
        "separate_cpu_s": round(sum(own), 2),
        "ratio": round(together / sum(own), 3),
        "allowed": round(allowed, 3),
        "largest_difference": worst,
        "three_at_one_cut_cpu_s": {"shared ridges": round(once, 2), "own": round(apart, 2)},
        "gates": gates,
    }
    print(json.dumps(figures, indent=1))
    raise SystemExit(0 if all(gates.values()) else 1)


if __name__ == "__main__":
    main()
