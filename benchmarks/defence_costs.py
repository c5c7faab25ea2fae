"""What each component of a defence costs once it is trained, on the device and in the cloud.

    python benchmarks/defence_costs.py [--rounds 40] [--only noise ...]     # about 2 CPU minutes

Every component of the catalogue, one recipe each, hardens a copy of the bundled VGG at `pool2` (the
ViT at `blocks.1` for tokens) for one step on random images: costs do not depend on weights. Before
and after are compared: parameters and operations of the device's half (convolutions, matrix
products, attention; a multiply-add is two), operations in the cloud, values sent, and CPU time of
encoding a batch of 32 images and releasing it, one thread, interleaved with the source's half,
least of rounds over least of rounds.

It prints a JSON object and a table, and fails (exit 1) where a component that works on weights
alone changes a step of the device's half, its parameters, operations, or what is sent.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from splitveil.data import LabelledImages, TrainingImages
from splitveil.defences import Hardened, harden, parse_components
from splitveil.defences.parse import KINDS
from splitveil.models import PixelModel, load_model
from splitveil.models.grafts import KEY
from splitveil.partition import Partition, measure_costs, trace
from splitveil.rng import Rng
from splitveil.training import Schedule

BATCH, IMAGES = 32, 100
CUTS = {"vgg": "pool2", "vit": "blocks.1"}
FREE = (
    "adversary(1)",
    "distil(4)",
    "freeze(1)",
    "hsic(1)",
    "imbalance(0.1)",
    "lipschitz(0.1)",
    "logit-decay(0.01)",
    "maxent(1)",
    "nopeek(1)",
    "onehot",
    "smooth(0.3)",
    "coarse(0,1,2,3,4|5,6,7,8,9)",
    "ramp(smooth(0.3),0.2,0.6)",
    "ressfl(1,channels=0)",
    "expert({plain})",
)
"""Components that change weights alone."""
NOISY = ("noise(0.1)+cem(rate=0.1)", "noise(0.1)+cem-published(1)")
"""Those that need noise, compared with `noise(0.1)`."""
STRUCTURES = (
    "bottleneck(8)",
    "pca(8)",
    "dct(4)",
    "disco(0.5)",
    "sparse(0.1)",
    "vib(0.001)",
    "vib(0.001,channels=8)",
    "ressfl(1,channels=8)",
    "expert({narrow})",
    "prune(0.3)",
    "ensembler({shadows},chosen=2)",
    "tokens(class)",
    "tokens(pool)",
    "tokens(drop)",
    "tokens(shuffle)",
)
"""Those that change what the device or the cloud runs, or what crosses."""
RELEASES = (
    "noise(0.1)",
    "calibrated(0.001)",
    "fisher(1)",
    "fsinfo(0.1)",
    "utility-noise(0.1)",
    "fixed-noise(0.1)",
    "shredder(0.1)",
    "laplace(sigma=0.3)",
    "gaussian-dp(epsilon=8,delta=1e-5)",
    "laplace-dp(epsilon=8)",
    "shaped(rate=0.5)",
    "quantise(bits=8)",
    "dither(bits=4)",
    "half",
    "dropout(rate=0.3)",
    "topk(keep=0.3)",
)
"""Those that act on what is sent."""


@dataclass(frozen=True)
class Cost:
    """What a half costs, for one image; `steps` are those of the device's half in order."""

    parameters: int
    operations: int
    cloud: int
    values: int
    steps: tuple[str, ...]


def images(rng: Rng) -> TrainingImages:
    """Noise: nothing is to be learnt."""
    parts = []
    for number, name in enumerate(("train", "validation", "probe")):
        x = torch.rand(IMAGES, 1, 32, 32, generator=rng.child(name).torch())
        y = torch.arange(IMAGES) % 10
        parts.append(LabelledImages(x, y, torch.arange(IMAGES) + IMAGES * number))
    return TrainingImages(name="noise", train=parts[0], validation=parts[1], probe=parts[2])


def trained(text: str, model: PixelModel, cut: str, seed: int = 0) -> Hardened:
    """One step of training."""
    return harden(
        model,
        images(Rng(0)),
        parse_components(text),
        schedule=Schedule(epochs=1, batch=IMAGES, learning_rate=1e-5),
        rng=Rng(seed),
        cut=cut,
        patience=None,
        watch=None,
    )


def cost(network: torch.nn.Module, partition: Partition) -> Cost:
    """Parameters, operations and steps of a partition's halves."""
    x = torch.zeros(2, 1, 32, 32)
    traced = trace(network, x)
    cut = traced.cut(partition.cut.id)
    (found,) = measure_costs(traced, [cut], x[:1], repeats=6, seconds=0.0)
    graph: Any = partition.head.get_submodule("network")
    return Cost(
        parameters=found.edge_parameters,
        operations=found.edge_flops,
        cloud=found.total_flops - found.edge_flops,
        values=cut.layout.size,
        steps=tuple(f"{node.op} {node.target}" for node in graph.graph.nodes),
    )


def device(partition: Partition) -> Callable[[torch.Tensor], torch.Tensor]:
    """All that the device does: encode and release."""
    generator = Rng(0).torch()
    return lambda x: partition.release(partition.features(x), generator)


@torch.no_grad()
def ratio(one: Partition, other: Partition, rounds: int) -> float:
    """Least CPU time of the device's work in `one` over that in `other`, interleaved."""
    x = torch.rand(BATCH, 1, 32, 32, generator=Rng(1).torch())
    arms = [device(one), device(other)]
    best = [math.inf, math.inf]
    for turn in range(-2, rounds):
        for place in (0, 1) if turn % 2 else (1, 0):
            start = time.process_time()
            arms[place](x)
            if turn >= 0:
                best[place] = min(best[place], time.process_time() - start)
    return best[0] / best[1]


@contextmanager
def stored() -> Iterator[dict[str, Path]]:
    """Networks hardened before, for components that go on from them."""
    with tempfile.TemporaryDirectory() as place:
        model, folder = load_model("vgg").network, Path(place)
        for name, text in (
            ("plain", "adversary(1)"),
            ("narrow", "bottleneck(8)"),
            *((f"shadows/{i}", "fixed-noise(0.1)") for i in range(4)),
        ):
            found = trained(text, model, CUTS["vgg"], seed=len(name))
            (folder / name).mkdir(parents=True)
            grafts = [{**g, "at": g["at"].removeprefix("network.")} for g in found.grafts]
            state = found.network.get_submodule("network").state_dict()
            state = {k: v.clone().contiguous() for k, v in state.items()}
            described = {KEY: json.dumps(grafts)} if grafts else {}
            save_file(state, folder / name / "weights.safetensors", described)
        yield {name: folder / name for name in ("plain", "narrow", "shadows")}


@cache
def untouched(base: str, name: str) -> Hardened:
    """What components are compared with."""
    return trained(base, load_model(name).network, CUTS[name])


def row(text: str, base: str, places: dict[str, Path], rounds: int) -> dict[str, Any]:
    """A component's costs beside those of the recipe it is compared with."""
    name = "vit" if text.startswith("tokens") else "vgg"
    before = untouched(base, name)
    after = trained(text.format(**places), load_model(name).network, CUTS[name])
    assert before.partition is not None
    assert after.partition is not None
    costs = [
        cost(found.network, part)
        for found, part in ((before, before.partition), (after, after.partition))
    ]
    return {
        "component": text.format(**dict.fromkeys(places, "folder")),
        "base": base,
        "before": asdict(costs[0]),
        "after": asdict(costs[1]),
        "unchanged": costs[0] == costs[1],
        "time": ratio(after.partition, before.partition, rounds),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, one row a component."""
    lines = [
        "| component | device parameters | device operations | cloud operations | values sent | "
        "device time |",
        "|---|---|---|---|---|---|",
    ]
    for one in rows:
        cells = [f"`{one['component']}`"]
        for key in ("parameters", "operations", "cloud", "values"):
            a, b = one["before"][key], one["after"][key]
            cells.append("same" if a == b else f"{b:,} ({b / a - 1:+.1%})")
        lines.append("| " + " | ".join((*cells, f"x {one['time']:.2f}")) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--only", nargs="*", default=None)
    given = parser.parse_args()
    torch.set_num_threads(1)
    groups = {"weights": FREE, "noise": NOISY, "structures": STRUCTURES, "releases": RELEASES}
    known = {kind.name for kind in KINDS}
    shown = " ".join(text for texts in groups.values() for text in texts)
    missing = sorted(name for name in known if name not in shown)
    failed = [f"no recipe for {name}" for name in missing]
    for text in (text for texts in groups.values() for text in texts):
        parse_components(text)  # a mistake is said before anything is trained
    found: dict[str, list[dict[str, Any]]] = {}
    with stored() as places:
        for group, texts in groups.items():
            base = "noise(0.1)" if group == "noise" else "onehot"
            found[group] = [
                row(text, base, places, given.rounds)
                for text in texts
                if given.only is None or any(text.startswith(name) for name in given.only)
            ]
    failed += [
        f"{one['component']} changes the device's half: {one['before']} to {one['after']}"
        for group in ("weights", "noise")
        for one in found[group]
        if not one["unchanged"]
    ]
    for rows in found.values():
        for one in rows:
            for side in ("before", "after"):
                one[side] = {k: v for k, v in one[side].items() if k != "steps"}
    print(json.dumps({"costs": found, "failed": failed}, indent=1))
    for group, rows in found.items():
        print(f"\n{group}\n\n{table(rows)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
