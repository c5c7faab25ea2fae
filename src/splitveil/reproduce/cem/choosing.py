"""Choosing strengths on seeds and images of their own, without any attack."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

import torch

from splitveil.data import LabelledImages
from splitveil.partition import Partition
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.cem.climb import climb
from splitveil.reproduce.cem.images import images_of
from splitveil.reproduce.cem.networks import SMALL, hardened, recorded
from splitveil.reproduce.cem.rates import rates
from splitveil.reproduce.experiment import Arm, Measured
from splitveil.reproduce.gpz.vortex import folder_of
from splitveil.rng import Rng

BASES = {
    "noise": "noise({noise:g})",
    "dropout": "noise({noise:g})+dropout(rate=0.2)",
    "bottleneck": "noise({noise:g})+bottleneck(2)",
    "nopeek": "noise({noise:g})+nopeek(1)",
    "adversary": "noise({noise:g})+adversary(1)",
    "bottleneck8": "noise({noise:g})+bottleneck(8)",
}
OURS, PUBLISHED, PLAIN = "ours", "published", "base"
NOISE, LOST = 0.3, 0.01
SEEDS = (100, 101)
SHARES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.25)
WEIGHTS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0)
LADDERS = {OURS: SHARES, PUBLISHED: WEIGHTS}


@dataclass(frozen=True, kw_only=True)
class Level(Arm):
    """A base without any price, on the choosing seeds: its accuracy and its rate."""

    data: str
    base: str

    @property
    def minutes(self) -> float:
        return 0.5 * slowness(self.base)

    def run(self, bench: Bench) -> Measured:
        images = images_of(self.data, folder_of(bench))
        text = BASES[self.base].format(noise=NOISE)
        accuracies, found = [], []
        for seed in SEEDS:
            partition = hardened(bench, images, text, data=self.data, network=SMALL, seed=seed)
            accuracies.append(accuracy(partition, images.choosing, Rng(seed, ("cem", "choosing"))))
            own = rates(
                partition, images.training.train, images.choosing, classes=images.kind.classes
            )
            found.append(own["rate"])
        return Measured(details={"accuracy": fmean(accuracies), "rate": fmean(found)})


@dataclass(frozen=True, kw_only=True)
class Chosen(Arm):
    """The strongest rung of a form's ladder that keeps the base's accuracy; see `climb`."""

    data: str
    base: str
    form: str

    @property
    def minutes(self) -> float:
        return 1.3 * slowness(self.base)

    def run(self, bench: Bench) -> Measured:
        level = recorded(bench, Level(data=self.data, base=self.base)).details

        def reached(rung: float) -> float:
            strength = rung if self.form == PUBLISHED else rung * number(level, "rate")
            text = priced(self.base, self.form, strength)
            return mean_accuracy(bench, text, self.data, SEEDS)

        top = climb(LADDERS[self.form], reached, number(level, "accuracy") - LOST)
        return Measured(details=asdict(top))


def mean_accuracy(bench: Bench, text: str, data: str, seeds: Sequence[int]) -> float:
    """On choosing images, the small network with the components of `text`, over seeds."""
    images = images_of(data, folder_of(bench))
    return fmean(
        accuracy(
            hardened(bench, images, text, data=data, network=SMALL, seed=seed),
            images.choosing,
            Rng(seed, ("cem", "choosing")),
        )
        for seed in seeds
    )


def priced(
    base: str,
    form: str,
    strength: float,
    *,
    noise: float = NOISE,
    clusters: int = 5,
    covariance: str = "isotropic",
) -> str:
    """A base's components with a form of the price: a rate in nats per value, or a weight."""
    text = BASES[base].format(noise=noise)
    if form == PLAIN:
        return text
    if form == PUBLISHED:
        return f"{text}+cem-published({strength:g})"
    settings = "" if clusters == 5 else f", clusters={clusters}"
    settings += "" if covariance == "isotropic" else f", covariance={covariance}"
    return f"{text}+cem(rate={strength:.3g}{settings}, pace=0.03)"


@torch.no_grad()
def accuracy(partition: Partition, images: LabelledImages, rng: Rng) -> float:
    """Share named rightly from one noisy send each."""
    assert images.y is not None  # noqa: S101 - labelled images
    sent = partition.transmit(images.x, rng.child("accuracy"))
    answers = torch.cat([partition.predict(part).argmax(1) for part in sent.split(500)])
    return float((answers == images.y).double().mean())


def number(details: object, name: str) -> float:
    """A number of an arm's details."""
    assert isinstance(details, dict)  # noqa: S101 - records hold plain data
    return float(details[name])


def slowness(base: str) -> float:
    """How much longer training with a base takes than with noise alone."""
    return 2.2 if base == "adversary" else 1.0
