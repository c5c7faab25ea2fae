"""How many images the guard needs, and what an adversary who knows it keeps: trains, then counts.

    python benchmarks/guard.py FOLDER [--only-read] [--only NAME ...]

Networks are trained one after another into FOLDER, each once: run again to go on after a kill.
About 20 CPU minutes on one core. Settings and claims are in docs/hypotheses-vicious.md.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import binom

from splitveil.data import LabelledImages, load_data, load_training
from splitveil.estimators import Whitening
from splitveil.malicious import (
    Malicious,
    MultiClass,
    fit_afterwards,
    train_honest,
    train_malicious,
)
from splitveil.malicious.hiding import Hiding
from splitveil.measures import accuracy, mse, r_squared, risk
from splitveil.nets.small_pair import SmallDecoder, small_classifier
from splitveil.rng import Rng
from splitveil.training import Schedule
from splitveil.vetting import Guard, GuardNull, guard_null, kernel_probe, linear_probe
from splitveil.vetting.calibration import ceiling
from splitveil.vetting.statistics import Answers

matplotlib.use("Agg")
from matplotlib import pyplot

SCHEDULE = Schedule(epochs=12, batch=128, learning_rate=2e-3, weight_decay=0.0)
TASK = MultiClass(10)
WIDTH, SEEDS, ORDERS, STREAM, LEARNS, ALPHA = 16, 3, 20, 1500, 1000, 0.01
CALIBRATE, HONEST = 19, 39


@dataclass(frozen=True)
class Net:
    """One network to train: honest, a decoder fitted afterwards, or malicious."""

    arm: str
    seed: int
    weight: float = 0.0
    hiding: float = 0.0
    bends: int = 0

    @property
    def name(self) -> str:
        return f"{self.arm}-w{self.weight:g}-c{self.hiding:g}-b{self.bends}-{self.seed}"


def plan() -> list[Net]:
    """In the order in which results become useful."""
    seeds = range(SEEDS)
    first = ((3.0, 0.0, 0), (3.0, 3.0, 0))
    then = ((3.0, 3.0, 64), (3.0, 10.0, 64), (3.0, 1.0, 64), (3.0, 10.0, 0), (3.0, 1.0, 0))
    last = ((0.3, 0.0, 0), (3.0, 0.3, 64), (3.0, 0.3, 0), (1.0, 0.0, 0), (0.1, 0.0, 0))
    return [
        *(Net("honest", seed) for seed in range(CALIBRATE)),
        *(Net("control", seed) for seed in seeds),
        *(Net("malicious", seed, *arm) for arm in first for seed in seeds),
        *(Net("malicious", seed, *arm) for seed in seeds for arm in then),
        *(Net("malicious", seed, *arm) for seed in seeds for arm in last),
        *(Net("honest", seed) for seed in range(CALIBRATE, HONEST)),
    ]


@dataclass(frozen=True, eq=False)
class Images:
    """To train on, to choose the epoch by, to calibrate with, to stream."""

    train: LabelledImages
    validation: LabelledImages
    calibration: LabelledImages
    stream: LabelledImages

    @staticmethod
    def load() -> "Images":
        training = load_training("fashion-mnist", size=32, images=5000)
        test = load_data("fashion-mnist", size=32).test
        return Images(
            training.train,
            training.validation,
            test.take(torch.arange(4000)),
            test.take(torch.arange(4000, 8000)),
        )


def train(net: Net, images: Images, folder: Path) -> None:
    """Train one and store its outputs on the test images, its weights and its decoder's error."""
    rng = Rng(net.seed, (net.arm if net.arm != "control" else "honest",))
    with rng.child("init").as_global():
        classifier = small_classifier(1, 10, width=WIDTH)
        decoder = SmallDecoder(10, (1, 32, 32), width=WIDTH)
    began = time.process_time()
    some, chosen = images.train, images.validation
    honest = partial(
        train_honest, task=TASK, validation=chosen, schedule=SCHEDULE, augmentation=None
    )
    pair: Malicious | None = None
    match net.arm:
        case "honest":
            model = honest(classifier, some, rng=rng).model
        case "control":
            trained = folder / f"{Net('honest', net.seed).name}.weights.safetensors"
            classifier.load_state_dict(load_file(trained))
            pair = fit_afterwards(
                classifier,
                decoder,
                some,
                task=TASK,
                validation=chosen,
                rng=rng,
                schedule=SCHEDULE,
                augmentation=None,
            )
            model = pair.model
        case _:
            pair = train_malicious(
                classifier,
                decoder,
                some,
                task=TASK,
                validation=chosen,
                rng=rng,
                weight=net.weight,
                schedule=SCHEDULE,
                augmentation=None,
                extra=Hiding(weight=net.hiding, bends=net.bends) if net.hiding else None,
            )
            model = pair.model
    spent = time.process_time() - began
    with torch.no_grad():
        outputs = [
            torch.cat([model(x) for x in part.x.split(500)])
            for part in (images.calibration, images.stream)
        ]
    assert images.stream.y is not None
    found = {
        **asdict(net),
        "cpu_seconds": spent,
        "accuracy": accuracy(outputs[1], images.stream.y).to_json(),
    }
    if pair is not None:
        found |= leak(pair.rebuild(outputs[1]), images)
    save_file({"calibration": outputs[0], "stream": outputs[1]}, folder / f"{net.name}.outputs")
    save_file(model.state_dict(), folder / f"{net.name}.weights.safetensors")
    (folder / f"{net.name}.json").write_text(json.dumps(found, indent=1))


def leak(pictures: torch.Tensor, images: Images) -> dict[str, object]:
    """What its own decoder gets: error, risk, share of the variance within classes."""
    x, y = images.stream.x, images.stream.y
    whitening = Whitening.fit(images.train.x)
    return {
        "mse": mse(pictures, x, Rng(0)).to_json(),
        "r_squared": r_squared(pictures, x, Rng(0), labels=y).to_json(),
        "risk": risk(pictures, x, whitening, Rng(0)).log_ratio.to_json(),
    }


def read(images: Images, folder: Path) -> dict[str, Any]:
    """The guard on every network that is there."""
    assert images.stream.y is not None
    there = [net for net in plan() if (folder / f"{net.name}.json").is_file()]
    outputs = {net: load_file(folder / f"{net.name}.outputs") for net in there}
    first = [net for net in there if net.arm == "honest" and net.seed < CALIBRATE]
    null = guard_null(
        images.calibration.x,
        [outputs[net]["calibration"] for net in first],
        Rng(0, ("null",)),
        learns=LEARNS,
        source="benchmarks/guard.py",
    )
    rows = []
    for net in there:
        found = json.loads((folder / f"{net.name}.json").read_text())
        level = ceiling(
            images.calibration.x,
            outputs[net]["calibration"],
            Rng(0, ("null",)),
            learns=LEARNS,
            orders=4,
        )
        found["score"] = level.mean.tolist()
        found["upper"] = level.upper.tolist()
        answers = Answers.of(
            images.stream.x[:1000], images.stream.y[:1000], outputs[net]["stream"][:1000]
        )
        found["linear_probe"] = linear_probe(answers, Rng(0)).value
        found["kernel_probe"] = kernel_probe(answers, Rng(0)).value
        found["alarms"] = list(alarms(null, images.stream.x, outputs[net]["stream"]))
        rows.append(found)
    return {"null": null.to_json(), "networks": rows}


def alarms(null: GuardNull, x: torch.Tensor, outputs: torch.Tensor) -> Iterator[int | None]:
    """The image at which each order of the stream alarms."""
    for order in range(ORDERS):
        places = torch.randperm(len(x), generator=Rng(order, ("stream",)).torch())[:STREAM]
        guard = Guard(null, alpha=ALPHA)
        guard.update(x[places], outputs[places])
        yield guard.alarm_at


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only-read", action="store_true")
    parser.add_argument("--only", action="append", default=[], help="train what begins so")
    parser.add_argument("--figure", type=Path)
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    images = Images.load()
    wanted = [net for net in plan() if net.name.startswith(tuple(chosen.only) or "")]
    for net in [] if chosen.only_read else wanted:
        if not (chosen.folder / f"{net.name}.json").is_file():
            train(net, images, chosen.folder)
            print(net.name, flush=True)
    found = read(images, chosen.folder)
    (chosen.folder / "guard.json").write_text(json.dumps(found, indent=1))
    summarise(found, chosen.figure)


def summarise(found: dict[str, Any], figure: Path | None) -> None:
    """One line an arm: what is kept, what is seen; and both against each other."""
    rows = found["networks"]
    honest = [row for row in rows if row["arm"] == "honest" and row["seed"] < CALIBRATE]
    level = {seed: _one(rows, "control", seed)["mse"]["value"] for seed in range(SEEDS)}
    plain = {seed: _one(rows, "malicious", seed, 3.0)["mse"]["value"] for seed in range(SEEDS)}
    accuracy = statistics.mean(row["accuracy"]["value"] for row in honest)
    print("null", found["null"], "honest accuracy", round(accuracy, 4))
    points = []
    fresh = [row for row in rows if row["arm"] == "honest" and row["seed"] >= CALIBRATE]
    often = [row["seed"] for row in fresh if sum(at is not None for at in row["alarms"]) > 1]
    print("fresh honest networks", len(fresh), "that alarm in more than one stream", often)
    for arm in dict.fromkeys((r["arm"], r["weight"], r["hiding"], r["bends"]) for r in rows):
        some = [r for r in rows if (r["arm"], r["weight"], r["hiding"], r["bends"]) == arm]
        alarms = [math.inf if at is None else at for row in some for at in row["alarms"]]
        line = {
            "seeds": len(some),
            "accuracy": statistics.mean(r["accuracy"]["value"] for r in some) / accuracy,
            "score": [statistics.mean(r["score"][i] for r in some) for i in (0, 1)],
            "T3": statistics.mean(r["linear_probe"] for r in some),
            "T3 p": [
                (1 + sum(h["linear_probe"] >= r["linear_probe"] for h in honest))
                / (1 + len(honest))
                for r in some
            ],
            "kernel": statistics.mean(r["kernel_probe"] for r in some),
            "alarmed": sum(at < math.inf for at in alarms) / len(alarms),
            "median": statistics.median(alarms),
            "interval": _median_interval(alarms),
        }
        if arm[0] != "honest":
            line["mse"] = statistics.mean(r["mse"]["value"] for r in some)
            line["within R2"] = statistics.mean(r["r_squared"]["value"] for r in some)
            line["log risk"] = statistics.mean(r["risk"]["value"] for r in some)
            left = [
                (level[r["seed"]] - r["mse"]["value"]) / (level[r["seed"]] - plain[r["seed"]])
                for r in some
            ]
            line["left"] = [round(value, 3) for value in left]
            points.append((arm, statistics.mean(left), line))
        print(*arm, json.dumps(line, default=str))
    if figure is not None:
        draw(points, figure)


def _one(rows: list[dict[str, Any]], arm: str, seed: int, weight: float = 0.0) -> dict[str, Any]:
    return next(
        row
        for row in rows
        if (row["arm"], row["seed"], row["weight"], row["hiding"]) == (arm, seed, weight, 0.0)
    )


def _median_interval(alarms: list[float]) -> tuple[float, float]:
    """Of the median, 95 %, by order statistics."""
    ordered, n = sorted(alarms), len(alarms)
    low = int(binom.ppf(0.025, n, 0.5))
    return ordered[max(0, low - 1)], ordered[min(n - 1, n - low)]


def draw(points: list[Any], path: Path) -> None:
    """Leak left against images needed and against the probes of `splitveil vet`."""
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained", sharey=True)
    for bends, colour, label in ((0, "C0", "knows the linear probe"), (64, "C1", "knows both")):
        some = [p for p in points if p[0][1] == 3 and p[0][2] > 0 and p[0][3] == bends]
        some.sort(key=lambda p: p[0][2])
        for axis, key in ((axes[0], "median"), (axes[1], "kernel")):
            across = [min(p[2][key], STREAM * 1.15) for p in some]
            axis.plot(across, [p[1] for p in some], "o-", color=colour, label=label)
            for place, p in zip(across, some, strict=True):
                axis.annotate(f" c={p[0][2]:g}", (place, p[1]), fontsize=8)
    for marker, name, chosen in (("s", "plain", "malicious"), ("^", "control", "control")):
        for p in points:
            if p[0][0] == chosen and p[0][1] in (0.0, 3.0) and p[0][2] == 0:
                for axis, key in ((axes[0], "median"), (axes[1], "kernel")):
                    place = min(p[2][key], STREAM * 1.15)
                    axis.plot([place], [p[1]], marker, color="black", label=name)
    axes[0].axvline(STREAM, color="grey", linewidth=0.8, linestyle=":")
    axes[0].set_xscale("log")
    axes[0].set_xlabel("images until the alarm, median (right of the line: none)")
    axes[0].set_ylabel("leak left, share of the plain one's")
    axes[1].set_xlabel("kernel probe of splitveil vet")
    axes[1].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
