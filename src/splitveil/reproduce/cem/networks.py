"""What is hardened: a small network for every kind of images, and the bundled ones."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from splitveil.audit.store import scope_of
from splitveil.defences import harden, parse_components
from splitveil.partition import Partition
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.cem.images import Images, images_of
from splitveil.reproduce.experiment import Arm, Evidence, Measured
from splitveil.reproduce.gpz.vortex import folder_of
from splitveil.rng import Rng
from splitveil.training import Schedule

FASHION = "fashion-mnist"
SMALL = "small"
CUTS = {SMALL: "7", "vgg": "pool2", "resnet": "stage2.block1"}
REVISION = 1


def small(channels: int, classes: int) -> nn.Module:
    """The small network, cut behind its sigmoid: 4 x 8 x 8 values."""
    with Rng(0, ("cem", "small")).as_global():
        return nn.Sequential(
            *(nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 4, 3, padding=1), nn.Sigmoid()),
            *(nn.Conv2d(4, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(1024, classes)),
        ).eval()


@dataclass(frozen=True, kw_only=True)
class Plain(Arm):
    """The small network without any defence, from scratch: where every arm of a seed begins.

    Arrays: its tensors by name.
    """

    data: str

    @property
    def minutes(self) -> float:
        return 0.2

    def run(self, bench: Bench) -> Measured:
        images = images_of(self.data, folder_of(bench))
        found = harden(
            small(images.training.train.x.shape[1], images.kind.classes),
            images.training,
            parse_components("onehot"),
            schedule=Schedule(epochs=images.kind.epochs),
            rng=Rng(self.seed, ("cem", "source")),
            patience=None,
            start="scratch",
        )
        state = found.network.state_dict()
        return Measured(
            details={"accuracy on picking": found.accuracy.value},
            arrays={name: value.numpy() for name, value in state.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Moved(Arm):
    """A bundled network with a new last layer, trained on other images, grey, without any defence.

    Arrays: its tensors by name.
    """

    data: str
    network: str

    @property
    def minutes(self) -> float:
        return 0.7 if self.network == "vgg" else 2.5

    def run(self, bench: Bench) -> Measured:
        images = images_for(bench, self.data, self.network)
        found = harden(
            self.untrained(bench, images.kind.classes),
            images.training,
            parse_components("onehot"),
            schedule=Schedule(epochs=images.kind.epochs),
            rng=Rng(self.seed, ("cem", "moved")),
            patience=None,
        )
        state = found.network.state_dict()
        return Measured(
            quantities={"accuracy on picking": found.accuracy},
            arrays={name: value.numpy() for name, value in state.items()},
        )

    def untrained(self, bench: Bench, classes: int) -> nn.Module:
        """A copy of the bundled network behind a last layer that has learnt nothing."""
        network = deepcopy(bench.reference(self.network).model.network)
        linear = {k: v for k, v in network.named_modules() if isinstance(v, nn.Linear)}
        name, last = next(reversed(linear.items()))
        with Rng(self.seed, ("cem", "last layer")).as_global():
            network.set_submodule(name, nn.Linear(last.in_features, classes))
        return network


def images_for(bench: Bench, data: str, network: str) -> Images:
    """What a network is trained on and attacked with: bundled ones take grey images."""
    folder = folder_of(bench)
    return images_of(data, folder) if network == SMALL else _grey(data, folder)


@cache
def _grey(data: str, folder: Path) -> Images:
    return images_of(data, folder).in_grey()


def recorded(bench: Bench, arm: Arm) -> Measured:
    """What an arm measured, from the run's folder; measured now where it has not run."""
    if bench.store is None:
        return arm.run(bench)
    evidence = Evidence.of(bench.store, scope_of(reproduce="cem", revision=REVISION))
    found = evidence.find(arm)
    return arm.run(bench) if found is None else found


def hardened(
    bench: Bench, images: Images, text: str, *, data: str, network: str, seed: int
) -> Partition:
    """The seed's network with the components of `text`, from trained weights, last weights kept."""
    source, epochs = _source(bench, images, data, network, seed)
    found = harden(
        source,
        images.training,
        parse_components(text),
        cut=CUTS[network],
        schedule=Schedule(epochs=epochs),
        rng=Rng(seed, ("cem", "claims")),
        patience=None,
    )
    assert found.partition is not None  # noqa: S101 - hardened with a cut
    return found.partition


def _source(
    bench: Bench, images: Images, data: str, network: str, seed: int
) -> tuple[nn.Module, int]:
    """Where training begins, and its epochs; bundled networks go on for half as long."""
    if network == SMALL:
        net = small(images.training.train.x.shape[1], images.kind.classes)
        net.load_state_dict(_tensors(recorded(bench, Plain(data=data, seed=seed)).arrays))
        return net, images.kind.epochs
    epochs = images.kind.epochs // 2
    if data == FASHION:
        return bench.reference(network).model.network, epochs
    moved = Moved(data=data, network=network)
    found = moved.untrained(bench, images.kind.classes)
    found.load_state_dict(_tensors(recorded(bench, moved).arrays))
    return found.eval(), epochs


def _tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
