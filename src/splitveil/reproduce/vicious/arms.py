"""What is trained and scored: one pair of networks, and what none of them learns."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from splitveil.audit.scoring import pixels
from splitveil.errors import UnknownName
from splitveil.estimators import Whitening
from splitveil.malicious import Malicious, autoencoder, linear_code, train_malicious
from splitveil.measures import mse_per_image, risk_per_image, ssim_per_image
from splitveil.nets.small_pair import SmallDecoder, small_classifier
from splitveil.quantities import Kind, Quantity
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.experiment import Arm, Measured
from splitveil.reproduce.gpz.vortex import folder_of
from splitveil.reproduce.vicious.images import Pictures, pictures_of, whitening_of
from splitveil.rng import Rng
from splitveil.training import Schedule

VICIOUS, FREE = "vicious", "autoencoder"
SHOWN = 12
_WIDTH = 24
_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Paired(Arm):
    """A classifier and a decoder, trained together, and scored on the test images.

    `kind` is "vicious", with its weight (0 is an honest classifier and a decoder fitted
    afterwards), or "autoencoder". Training takes `steps` batches of 64. Arrays, one number a test
    image: "mse", "risk" (the ratio), "ssim", "right" (share of answers); and "pictures", the first
    twelve reconstructions as bytes.
    """

    images: str
    kind: str = VICIOUS
    release: str = "logits"
    weight: float | int = 3
    side: int = 16
    steps: int = 300

    def __post_init__(self) -> None:
        if self.kind not in (VICIOUS, FREE):
            raise UnknownName("kind of pair", self.kind, (VICIOUS, FREE))

    @property
    def minutes(self) -> float:
        return round(self.steps * self.side**2 / 640_000, 3)

    def run(self, bench: Bench) -> Measured:
        folder = folder_of(bench)
        held = pictures_of(self.images, folder, self.side)
        outputs = held.task.outputs
        with Rng(self.seed).child("vicious", "init").as_global():
            classifier = small_classifier(held.shape[0], outputs, width=_WIDTH)
            decoder = SmallDecoder(outputs, held.shape, width=_WIDTH)
        batches = math.ceil(len(held.train) / _BATCH)
        schedule = Schedule(
            epochs=math.ceil(self.steps / batches),
            batch=_BATCH,
            learning_rate=3e-3,
            weight_decay=0.0,
        )
        train = autoencoder if self.kind == FREE else partial(train_malicious, weight=self.weight)
        pair = train(
            classifier,
            decoder,
            held.train,
            task=held.task,
            validation=held.validation,
            rng=Rng(self.seed).child("vicious", "training"),
            release=self.release,
            schedule=schedule,
            augmentation=None,
        )
        return _scored(pair, held, whitening_of(self.images, folder, self.side))


@dataclass(frozen=True, kw_only=True)
class Yardsticks(Arm):
    """What needs no training: the mean image, and principal components as many as outputs.

    Arrays, one number a test image: "mse mean", and "mse", "risk", "ssim" of the linear code;
    "originals" and "pictures" as bytes.
    """

    images: str
    side: int = 16

    @property
    def minutes(self) -> float:
        return 0.02 if self.side < 32 else 0.15

    def run(self, bench: Bench) -> Measured:
        folder = folder_of(bench)
        held = pictures_of(self.images, folder, self.side)
        x = held.test.x
        pair = linear_code(held.train.x, held.task.outputs)
        found = _scored(pair, held, whitening_of(self.images, folder, self.side))
        mean = held.train.x.mean(0, keepdim=True).expand_as(x)
        arrays = {
            **found.arrays,
            "mse mean": mse_per_image(mean, x).numpy(),
            "originals": pixels(x[:SHOWN]),
        }
        return Measured(quantities=found.quantities, arrays=arrays)


def _scored(pair: Malicious, held: Pictures, whitening: Whitening) -> Measured:
    x = held.test.x
    made = pair.rebuild(pair.codes(x))
    arrays: dict[str, NDArray[np.generic]] = {
        "mse": mse_per_image(made, x).numpy(),
        "risk": risk_per_image(made, x, whitening).numpy(),
        "ssim": ssim_per_image(made.clamp(0, 1), x).numpy(),
        "pictures": pixels(made[:SHOWN]),
    }
    quantities = {}
    if pair.accuracy is not None:
        labels = held.task.labels(held.test)
        outputs = pair.outputs(x)
        arrays["right"] = held.task.right(outputs, labels).numpy()
        quantities["accuracy"] = held.task.accuracy(outputs, labels, Rng(0).child("accuracy"))
    quantities["mse"] = _plain(arrays["mse"], "mse per value")
    quantities["log risk"] = _plain(np.log(arrays["risk"]), "nat")
    return Measured(quantities=quantities, arrays=arrays)


def _plain(values: NDArray[np.generic], unit: str) -> Quantity:
    """The mean of one record, with its range: intervals are made where arms meet."""
    numbers = torch.from_numpy(np.asarray(values, dtype=np.float64))
    return _mean(numbers, unit)


def _mean(numbers: Tensor, unit: str) -> Quantity:
    value = float(numbers.mean())
    spread = 1.96 * float(numbers.std()) / math.sqrt(len(numbers))
    return Quantity(
        value=value,
        low=value - spread,
        high=value + spread,
        unit=unit,
        kind=Kind.MEASURED,
        n=len(numbers),
        assumptions=("one trained pair", "normal interval over test images"),
    )
