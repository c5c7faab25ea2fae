"""How label distributions move the spread within classes: C7, C8, C9 and the control C13a."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from splitveil.attacks import Decoder
from splitveil.audit.store import Run
from splitveil.data import LabelledImages, TrainingImages, load_training
from splitveil.defences import EpochState, Hardened, harden, parse_components
from splitveil.errors import BadPlan
from splitveil.measures import mse_per_image
from splitveil.models import load_model
from splitveil.models.accuracy import predict
from splitveil.partition import Traced, trace
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.experiment import Arm, Measured
from splitveil.reproduce.gpz.probe import permuted_shares, ridge_errors
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Observation, white_box
from splitveil.training import Schedule

ONE_HOT, POSITIVE, NEGATIVE = "onehot", "smooth(0.3)", "smooth(-0.05)"
LABELS = (ONE_HOT, POSITIVE, NEGATIVE)
KNOWN = HIDDEN = 2000


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How one network is trained, the cuts watched, and what an arm costs in CPU minutes."""

    images: int
    epochs: int
    cuts: tuple[str, ...]
    minutes: float
    brain_float: bool = True

    def schedule(self) -> Schedule:
        """The training schedule this means."""
        return Schedule(
            epochs=self.epochs, precision="bf16-mixed" if self.brain_float else "32-true"
        )


SETTINGS = {
    "vgg": Setting(
        images=20_000,
        epochs=8,
        cuts=("pool1", "pool2", "pool3", "pool4", "pool5"),
        minutes=2.2,
    ),
    "resnet": Setting(
        images=5000,
        epochs=6,
        cuts=("relu", "stage1.block3", "stage2.block3", "stage3.block3", "pool"),
        minutes=1.4,
    ),
    "ir": Setting(
        images=4000,
        epochs=6,
        cuts=(
            "prelu",
            "stage1.unit2",
            "stage2.unit2",
            "stage3.unit2",
            "stage4.unit2",
            "norm_embedding",
        ),
        minutes=1.4,
    ),
    "vit": Setting(
        images=4000,
        epochs=6,
        cuts=("patches", "blocks.0", "blocks.2", "blocks.4", "getitem"),
        minutes=1.5,
        brain_float=False,
    ),
}


@dataclass(frozen=True, kw_only=True)
class VortexArm(Arm):
    """A reference network trained from scratch under one label distribution, watched and attacked.

    Seeds fix initial weights and the order of images, whatever the labels.
    """

    network: str
    labels: str
    images: int
    epochs: int

    @property
    def minutes(self) -> float:
        return SETTINGS[self.network].minutes

    @property
    def setting(self) -> Setting:
        """How this network is trained."""
        return SETTINGS[self.network]

    def run(self, bench: Bench) -> Measured:
        place = folder_of(bench) / "training" / f"{self.network}-{self.labels}-{self.seed}"
        hardened, seconds = self.train(place)
        data, network = bench.images(), hardened.network
        held = [data.validation, data.test]
        right = np.concatenate([_right(network, part) for part in held])
        traced = trace(network, data.test.x[:2])
        known, hidden = data.auxiliary.take(_few(KNOWN)), data.test.take(_few(HIDDEN))
        arrays: dict[str, NDArray[Any]] = {"right": right, **self._attack(traced, known, hidden)}
        if self.network == "vgg" and self.labels in (ONE_HOT, POSITIVE):
            arrays["decoder/pool5"] = _decoder(traced, "pool5", known, hidden, self.seed)
        details: dict[str, object] = {
            "training_cpu_seconds": seconds,
            "cuts": list(hardened.cuts),
            "states": [state.to_json() for state in hardened.states],
        }
        if self.labels == ONE_HOT:
            details["permuted"] = self._permuted(traced)
        return Measured(quantities={"accuracy": hardened.accuracy}, details=details, arrays=arrays)

    def train(self, place: Path) -> tuple[Hardened, float]:
        """The trained network and the CPU seconds it took, over all runs that were stopped.

        Raises:
            BadPlan: if the training diverges.
        """
        model = load_model(self.network).network
        if self.setting.brain_float:
            # twice as fast for convolutions, and slower for a transformer
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        spent = place / "spent.json"
        before = json.loads(spent.read_text())["cpu_seconds"] if spent.is_file() else 0.0
        began = time.process_time()

        def record(_: EpochState) -> None:
            place.mkdir(parents=True, exist_ok=True)
            spent.write_text(json.dumps({"cpu_seconds": before + time.process_time() - began}))

        hardened = harden(
            model,
            training_images(self.images),
            parse_components(self.labels),
            schedule=self.setting.schedule(),
            rng=Rng(self.seed, ("vortex",)),
            patience=None,
            start="scratch",
            watch=self.setting.cuts,
            folder=place,
            on_epoch=record,
        )
        return hardened, float(json.loads(spent.read_text())["cpu_seconds"])

    def _attack(
        self, traced: Traced, known: LabelledImages, hidden: LabelledImages
    ) -> dict[str, NDArray[np.float64]]:
        """Errors of the ridge, the label known; at the last cut unknown too.

        Negative smoothing has no claim on them: the last cut alone.
        """
        names = self.setting.cuts[-1:] if self.labels == NEGATIVE else self.setting.cuts
        found = {}
        for name in names:
            cut = traced.cut(name)
            ours, theirs = (features(traced, part, [name])[cut.id] for part in (known, hidden))
            pair = ((ours, known), (theirs, hidden))
            found[f"ridge/{name}"] = ridge_errors(*pair, labels_known=True)
            if name == names[-1]:
                found[f"blind/{name}"] = ridge_errors(*pair, labels_known=False)
        return found

    def _permuted(self, traced: Traced) -> dict[str, list[float]]:
        probe = training_images(self.images).probe
        if probe.y is None:
            raise BadPlan("the probe needs labels")
        found = features(traced, probe, self.setting.cuts)
        rng = Rng(self.seed, ("vortex", "permuted"))
        return {
            name: permuted_shares(found[traced.cut(name).id], probe.y, 10, rng)
            for name in self.setting.cuts
        }


def arms(seeds: int, networks: Sequence[str] = tuple(SETTINGS)) -> tuple[VortexArm, ...]:
    """Every network under every label distribution, whole seeds first."""
    return tuple(
        VortexArm(
            network=name,
            labels=labels,
            seed=seed,
            images=SETTINGS[name].images,
            epochs=SETTINGS[name].epochs,
        )
        for name in networks
        for seed in range(seeds)
        for labels in LABELS
    )


@cache
def training_images(count: int) -> TrainingImages:
    """The images that every network of so many trains on."""
    return load_training("fashion-mnist", size=32, images=count)


def features(
    traced: Traced, images: LabelledImages, names: Sequence[str]
) -> Mapping[str, torch.Tensor]:
    """Features (n, f) of the named cuts by their ids."""
    cuts = [traced.cut(name) for name in names]
    with torch.no_grad():
        parts = [traced.features(x, cuts) for x in images.x.split(250)]
    return {cut.id: torch.cat([part[cut.id] for part in parts]) for cut in cuts}


def folder_of(bench: Bench) -> Path:
    """Where an arm may keep checkpoints and finds prepared sources.

    Raises:
        BadPlan: if the bench has no folder.
    """
    if not isinstance(bench.store, Run):
        raise BadPlan("this arm keeps checkpoints: run it in a folder")
    return bench.store.path


def _few(count: int) -> torch.Tensor:
    return torch.arange(count)


@torch.no_grad()
def _right(network: torch.nn.Module, images: LabelledImages) -> NDArray[np.float64]:
    """1 for every image named rightly, else 0."""
    if images.y is None:
        raise BadPlan("accuracy needs labels")
    return np.asarray(predict(network, images.x).argmax(1) == images.y, dtype=np.float64)


def _decoder(
    traced: Traced, name: str, known: LabelledImages, hidden: LabelledImages, seed: int
) -> NDArray[np.float64]:
    """Errors of the trained decoder at a cut, the label known."""
    partition = traced.split(traced.cut(name))
    knowledge = white_box(partition, Auxiliary(known.x, known.y))
    rng = Rng(seed, ("vortex", "decoder"))
    attack = Decoder(precision="bf16-mixed").fit(knowledge, rng.child("fit"))
    z = features(traced, hidden, [name])[partition.cut.id]
    seen = Observation(z[:, None], partition.cut.layout, hidden.y)
    rebuilt = attack(seen, rng.child("answer"))
    return np.asarray(mse_per_image(rebuilt, hidden.x), dtype=np.float64)
