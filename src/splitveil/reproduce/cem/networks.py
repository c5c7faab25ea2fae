"""What is hardened: a small network for every kind of images, and the bundled ones."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from splitveil.audit.store import scope_of
from splitveil.defences import Hardened, harden, parse_components
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.cem.images import Images, images_of
from splitveil.reproduce.experiment import Arm, Evidence, Measured
from splitveil.reproduce.gpz.vortex import folder_of
from splitveil.rng import Rng
from splitveil.training import Schedule

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


def recorded(bench: Bench, arm: Arm) -> Measured:
    """What an arm measured, from the run's folder; measured now where it has not run."""
    if bench.store is None:
        return arm.run(bench)
    evidence = Evidence.of(bench.store, scope_of(reproduce="cem", revision=REVISION))
    found = evidence.find(arm)
    return arm.run(bench) if found is None else found


def hardened(
    bench: Bench, images: Images, text: str, *, data: str, network: str, seed: int
) -> Hardened:
    """The seed's network with the components of `text`, from trained weights, last weights kept."""
    source, epochs = _source(bench, images, data, network, seed)
    return harden(
        source,
        images.training,
        parse_components(text),
        cut=CUTS[network],
        schedule=Schedule(epochs=epochs),
        rng=Rng(seed, ("cem", "claims")),
        patience=None,
    )


def _source(
    bench: Bench, images: Images, data: str, network: str, seed: int
) -> tuple[nn.Module, int]:
    """Where training begins, and its epochs; bundled networks go on for half as long."""
    if network != SMALL:
        return bench.reference(network).model.network, images.kind.epochs // 2
    net = small(images.training.train.x.shape[1], images.kind.classes)
    kept = recorded(bench, Plain(data=data, seed=seed)).arrays
    net.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in kept.items()})
    return net, images.kind.epochs
