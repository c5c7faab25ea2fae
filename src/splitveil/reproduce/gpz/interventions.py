"""What moves the jump: interventions at fixed depth, width and dimension (C13c, C15c to C15j)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from splitveil.data import LabelledImages, TrainingImages
from splitveil.defences import OneHot, harden
from splitveil.errors import BadData
from splitveil.models.accuracy import predict
from splitveil.partition import trace
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.experiment import Arm, Measured
from splitveil.reproduce.gpz.probe import (
    centre_accuracy,
    class_moments,
    labels,
    permuted_shares,
    ridge_errors,
)
from splitveil.reproduce.gpz.sources import study
from splitveil.reproduce.gpz.vortex import (
    SETTINGS,
    VortexArm,
    features,
    folder_of,
)
from splitveil.rng import Rng
from splitveil.training import Schedule

BLOCKS = 8
_WIDTH = 16
_TOKENS, _TOKEN = 65, 80
_CLASSES = 10


class Block(nn.Module):
    """relu(BN(conv(x))), with x added before the activation where `skip`."""

    def __init__(self, skip: bool) -> None:
        nn.Module.__init__(self)
        self.skip = skip
        self.conv = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(_WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 16, 16, 16) to the same shape."""
        out: Tensor = self.norm(self.conv(x))
        return torch.relu(out + x if self.skip else out)


class Column(nn.Module):
    """A strided stem, eight equal blocks that keep 16 x 16 x 16 values, mean, linear layer.

    Every cut has as many values, so that dimension explains nothing.
    """

    def __init__(self, *, skips: bool, classes: int, channels: int = 1) -> None:
        nn.Module.__init__(self)
        self.stem = nn.Sequential(
            nn.Conv2d(channels, _WIDTH, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(_WIDTH),
            nn.ReLU(),
        )
        self.blocks = nn.ModuleList(Block(skips) for _ in range(BLOCKS))
        self.classifier = nn.Linear(_WIDTH, classes)

    def states(self, x: Tensor) -> list[Tensor]:
        """What each block gives, (n, 16, 16, 16)."""
        found = []
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
            found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, c, 32, 32) to logits (n, classes)."""
        logits: Tensor = self.classifier(self.states(x)[-1].mean((2, 3)))
        return logits


@dataclass(frozen=True, kw_only=True)
class ColumnArm(Arm):
    """A `Column` trained on Fashion-MNIST, attacked and measured after every block.

    `permuted` trains on labels in random order; two classes are 0-4 and 5-9. nc1 and centre
    accuracy are those of the true ten classes, whatever was trained.
    """

    skips: bool
    permuted: bool
    classes: int
    epochs: int = 5
    batch: int = 64

    @property
    def minutes(self) -> float:
        return 0.45

    def run(self, bench: Bench) -> Measured:
        found = study("fashion-mnist", folder_of(bench))
        known, hidden = found.splits.auxiliary, found.splits.test
        rng = Rng(self.seed, ("gpz", "column"))
        network = self._train(found.training, rng)
        held = LabelledImages(
            torch.cat([known.x, hidden.x]), torch.cat([labels(known), labels(hidden)])
        )
        states = _states(network, held.x)
        errors, nc1, centre, shares = [], [], [], []
        for z in states:
            ours, theirs = z[: len(known)], z[len(known) :]
            errors.append(ridge_errors((ours, known), (theirs, hidden), labels_known=False))
            nc1.append(class_moments(z, labels(held), _CLASSES, groups=0).values["nc1"])
            centre.append(centre_accuracy(z, labels(held), _CLASSES))
            if self.permuted:
                own = permuted_shares(z, labels(held), _CLASSES, rng.child("shares"))
                shares.append(own)
        right = predict(network, hidden.x).argmax(1) == self._labels(labels(hidden), rng)
        arrays: dict[str, NDArray[Any]] = {"errors": np.stack(errors)}
        return Measured(
            details={
                "accuracy": float(right.double().mean()),
                "nc1": nc1,
                "centre_accuracy": centre,
                "permuted_shares": shares,
            },
            arrays=arrays,
        )

    def _labels(self, y: Tensor, rng: Rng) -> Tensor:
        """The labels that are trained on."""
        if self.permuted:
            y = y[torch.randperm(len(y), generator=rng.child("labels").torch())]
        return y if self.classes == _CLASSES else y // (_CLASSES // self.classes)

    def _train(self, data: TrainingImages, rng: Rng) -> nn.Module:
        train, held = (
            LabelledImages(part.x, self._labels(labels(part), rng.child(name)))
            for name, part in (("train", data.train), ("validation", data.validation))
        )
        network = Column(skips=self.skips, classes=self.classes)
        return harden(
            network.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
            TrainingImages(name=data.name, train=train, validation=held, probe=held),
            [OneHot()],
            schedule=Schedule(epochs=self.epochs, batch=self.batch, precision="bf16-mixed"),
            rng=rng.child("training"),
            patience=None,
            start="scratch",
        ).network


@dataclass(frozen=True, kw_only=True)
class TokenArm(Arm):
    """The ridge on what the last block of a trained vit gives: all tokens, and the class token.

    `project` sends both through a random projection to the width of one token.
    """

    project: bool

    @property
    def minutes(self) -> float:
        return 0.3

    def run(self, bench: Bench) -> Measured:
        setting = SETTINGS["vit"]
        arm = VortexArm(
            network="vit",
            labels="onehot",
            seed=self.seed,
            images=setting.images,
            epochs=setting.epochs,
        )
        network = arm.train(folder_of(bench) / "training" / f"vit-onehot-{self.seed}")[0].network
        found = study("fashion-mnist", folder_of(bench)).splits
        traced = trace(network, found.test.x[:2])
        cut = traced.cut("blocks.4")
        z = [
            features(traced, part, [cut.name])[cut.id].unflatten(1, (_TOKENS, _TOKEN))
            for part in (found.auxiliary, found.test)
        ]
        arrays = {}
        for name, sides in (
            ("all tokens", [one.flatten(1) for one in z]),
            ("class token", [one[:, 0] for one in z]),
        ):
            if self.project:
                sides = [projected(side, _TOKEN, self.seed) for side in sides]
            pairs = zip(sides, (found.auxiliary, found.test), strict=True)
            arrays[name] = ridge_errors(*pairs, labels_known=False)
        return Measured(arrays=arrays)


def projected(z: Tensor, width: int, seed: int) -> Tensor:
    """Features through a random orthonormal projection, the same for equal seeds and sizes."""
    generator = Rng(seed, ("gpz", "projection", str(z.shape[1]))).torch()
    drawn = torch.randn(z.shape[1], width, generator=generator, dtype=torch.float64)
    return (z.double() @ torch.linalg.qr(drawn).Q).float()


@torch.no_grad()
def _states(network: nn.Module, x: Tensor) -> list[Tensor]:
    if not isinstance(network, Column):
        raise BadData(f"expected a Column, got {type(network).__name__}")
    batches = [network.states(part) for part in x.split(250)]
    return [torch.cat(blocks).flatten(1) for blocks in zip(*batches, strict=True)]


CORE = tuple((skips, permuted, 10) for skips in (False, True) for permuted in (False, True))
PAIRED = tuple((skips, False, 2) for skips in (False, True))


def column_arms(seeds: int) -> tuple[ColumnArm, ...]:
    """Every condition, whole seeds first; those with two classes after all others."""
    return tuple(
        ColumnArm(skips=skips, permuted=permuted, classes=classes, seed=seed)
        for conditions in (CORE, PAIRED)
        for seed in range(seeds)
        for skips, permuted, classes in conditions
    )
