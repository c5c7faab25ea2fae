"""How many images the guard needs, and what an adversary who knows it keeps: trains, then counts.

    python benchmarks/guard.py FOLDER [--only-read]

Networks are trained one after another into FOLDER, each once: run again to go on after a kill.
About 20 CPU minutes on one core. Settings and claims are in docs/hypotheses-vicious.md.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

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
from splitveil.vetting.calibration import ceiling, guard_null
from splitveil.vetting.guard import Guard, GuardNull

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


def read(images: Images, folder: Path) -> dict[str, object]:
    """The guard on every network that is there."""
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
            images.calibration.x, outputs[net]["calibration"], Rng(0, ("null",)), learns=LEARNS
        )
        found["score"] = level.mean.tolist()
        found["upper"] = level.upper.tolist()
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
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    images = Images.load()
    for net in [] if chosen.only_read else plan():
        if not (chosen.folder / f"{net.name}.json").is_file():
            train(net, images, chosen.folder)
            print(net.name, flush=True)
    found = read(images, chosen.folder)
    (chosen.folder / "guard.json").write_text(json.dumps(found, indent=1))
    summarise(found)


def summarise(found: dict[str, object]) -> None:
    """One line an arm."""


if __name__ == "__main__":
    main()
