"""Conditional entropy maximisation: a price on what features tell through the noise at a cut."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from splitveil.defences.base import Batch, Component, Part, Setting, written
from splitveil.errors import BadPlan
from splitveil.estimators.centroids import ClassClusters, fit_padded, padded
from splitveil.estimators.rates import MovingClusters, class_rate, follow
from splitveil.shapes import Features, Labels

_EXCESS = 10.0


@dataclass(frozen=True, kw_only=True)
class Control:
    """How a price answers an excess e over its target, within [-1, 1], step by step.

    A level starts at `start` and is multiplied by exp(`pace` · e); the price is level · exp(`lead`
    · e); both stay within `least` and `most`. That is proportional and integral control of the
    price's logarithm.
    """

    start: float
    pace: float
    lead: float
    least: float
    most: float

    @staticmethod
    def ascent(pace: float) -> "Control":
        """Plain dual ascent, without a lead."""
        return Control(start=0.1, pace=pace, lead=0.0, least=1e-4, most=1e4)


# above 100 the gradient is the rate's alone: a higher price is no stronger, and slower to forget
_CONTROL = Control(start=1.0, pace=0.2, lead=8.0, least=1e-2, most=1e2)


@dataclass(frozen=True)
class ConditionalEntropy(Component):
    """Lowers `class_rate`, an upper estimate of I(X; Z | Y) per value, at a weight or to a target.

    H(X | Z) = H(X) - I(X; Z), so a lower rate is a higher conditional entropy of the image. The
    mixture behind the rate follows the features of training's own batches (`follow`), starting from
    k-means on calibration images; nothing is passed through the network a second time.

    With `weight` w the loss grows by w · rate. With `rate` r in nats per value it grows by
    w · max(0, rate - r), and w is found: after every step, with e = rate / r - 1 within [-1, 1], it
    is L exp(8 e), where L begins at 1 and is multiplied by exp(0.2 e), both kept in [0.01, 100].
    Far from the target the price is high at once, near it L settles. With `pace` it is plain dual
    ascent instead, from 0.1 by exp(pace · e) a step, in [1e-4, 1e4]: at 0.03 hundreds of steps to a
    far target. How fast the rate can fall is the learning rate's: above 100 no price speeds it.
    Validation adds 10 nats for every 100 % above r, so that an epoch which misses the target is not
    the one to keep. Begin from trained weights: a price on features that tell the classes nothing
    yet keeps them from learning.

    The rate is an estimate on the images trained on, and its noise that of the batch: it ranks, and
    `held_out_rate` proves. It counts information against Gaussian noise and is refused without.

    Raises:
        BadPlan: if not exactly one of weight and rate is given, a pace without a rate, or a setting
            is out of range.
    """

    name: ClassVar[str] = "cem"
    reference: ClassVar[str] = "conditional entropy maximisation, arXiv 2503.00383; Poole et al."

    weight: float | None = None
    rate: float | None = None
    clusters: int = 5
    memory: float = 200.0
    covariance: Literal["isotropic", "diagonal"] = "isotropic"
    pace: float | None = None

    def __post_init__(self) -> None:
        if (self.weight is None) == (self.rate is None):
            raise BadPlan(
                "cem takes a weight or a target rate in nats per value, one of them: cem(rate=0.1)"
            )
        given = self.weight if self.rate is None else self.rate
        if not 0 < given < math.inf:  # type: ignore[operator]
            raise BadPlan(f"cem: weight or rate must be positive and finite, got {given}")
        if self.clusters < 1 or not self.memory > 1:
            raise BadPlan(
                "cem: clusters must be at least 1 and memory above 1 row, got "
                f"{self.clusters} and {self.memory:g}"
            )
        if self.pace is not None and (self.rate is None or not 0 < self.pace < math.inf):
            raise BadPlan(
                f"cem: a pace is a positive number beside a target rate, got {self.pace:g}: "
                "cem(rate=0.1,pace=0.03)"
            )

    def prepare(self, setting: Setting) -> Part:
        z, y = calibration(setting, self, self.clusters)
        rows, there = padded(z, y, setting.classes)
        found = fit_padded(
            rows,
            there,
            clusters=self.clusters,
            generator=setting.rng.child("clusters").torch(),
            diagonal=self.covariance == "diagonal",
        )
        target = math.inf if self.rate is None else self.rate
        control = _CONTROL if self.pace is None else Control.ascent(self.pace)
        memory = Memory(completed(found, z), len(z) / setting.classes, control.start)

        def rate(batch: Batch) -> Tensor:
            state = memory.state
            return class_rate(batch.features, batch.y, state.clusters, sigma=_noise(batch)).mean()

        latest: list[Tensor] = []

        def term(batch: Batch) -> Tensor:
            found = rate(batch)
            latest[:] = [found.detach()]
            if self.weight is not None:
                return self.weight * found
            return memory.price * (found - target).relu()

        def missed(batch: Batch) -> Tensor:
            return _EXCESS * (rate(batch) / target - 1).relu()

        def observe(batch: Batch) -> None:
            if self.rate is not None:
                memory.answer(latest[0] / target - 1, control)
            memory.follow(batch.features, batch.y, _noise(batch), self.memory)

        return Part(
            term=term,
            validation=None if self.rate is None else missed,
            modules=memory,
            observe=observe,
            needs_noise=True,
        )

    def __str__(self) -> str:
        return written(self)


class Memory(nn.Module):
    """The mixture that follows the features, the price, and the level it moves about."""

    centroids: Tensor
    variances: Tensor
    mass: Tensor
    level: Tensor
    price: Tensor

    def __init__(self, clusters: ClassClusters, rows: float, start: float) -> None:
        nn.Module.__init__(self)
        self.register_buffer("centroids", clusters.centroids)
        self.register_buffer("variances", clusters.variances)
        self.register_buffer("mass", rows * clusters.shares)
        self.register_buffer("level", torch.tensor(start))
        self.register_buffer("price", torch.tensor(start))

    @property
    def state(self) -> MovingClusters:
        """The mixture as it stands."""
        return MovingClusters(
            clusters=ClassClusters(
                centroids=self.centroids,
                variances=self.variances,
                shares=self.mass / self.mass.sum(1, keepdim=True),
            ),
            mass=self.mass,
        )

    def follow(self, z: Features, y: Labels, sigma: Tensor, memory: float) -> None:
        """Take in a batch."""
        moved = follow(self.state, z, y, sigma=sigma, memory=memory)
        self.centroids.copy_(moved.clusters.centroids)
        self.variances.copy_(moved.clusters.variances)
        self.mass.copy_(moved.mass)

    def answer(self, excess: Tensor, control: Control) -> None:
        """Raise the price where the rate exceeds its target, lower it where there is slack."""
        e = excess.clamp(-1, 1)
        self.level.mul_((control.pace * e).exp()).clamp_(control.least, control.most)
        price = self.level * (control.lead * e).exp()
        self.price.copy_(price.clamp_(control.least, control.most))


def calibration(setting: Setting, component: Component, clusters: int) -> tuple[Features, Labels]:
    """Features and labels to begin clusters from.

    Raises:
        BadPlan: if there is no cut, or no class has as many images as clusters.
    """
    z, y = setting.features(component), setting.y
    assert y is not None  # noqa: S101 - images come with labels
    largest = int(y.bincount().max())
    if largest < clusters:
        raise BadPlan(
            f"{component}: no class has more than {largest} images to calibrate on, too few for "
            f"{clusters} clusters: ask for fewer or give more images"
        )
    return z.float(), y


def completed(found: ClassClusters, z: Features) -> ClassClusters:
    """Classes without an image get one wide component in the middle of all."""
    absent = found.shares.sum(1) == 0
    alone = torch.zeros_like(found.shares[0])
    alone[0] = 1
    spread = z.var(0, correction=0)
    wide = spread if found.variances.shape[2] > 1 else spread.mean()[None]
    return ClassClusters(
        centroids=torch.where(absent[:, None, None], z.mean(0), found.centroids),
        variances=torch.where(absent[:, None, None], wide, found.variances),
        shares=torch.where(absent[:, None], alone, found.shares),
    )


def _noise(batch: Batch) -> Tensor:
    assert batch.noise is not None  # noqa: S101 - refused before training
    return batch.noise
