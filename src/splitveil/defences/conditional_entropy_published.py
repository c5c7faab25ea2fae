"""Conditional entropy maximisation as published, for comparison."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from splitveil.defences.base import Batch, Component, Part, Setting, written
from splitveil.defences.conditional_entropy import calibration
from splitveil.errors import BadPlan
from splitveil.estimators.centroids import ClassClusters, fit_padded, padded
from splitveil.estimators.rates import published_cem


@dataclass(frozen=True)
class PublishedConditionalEntropy(Component):
    """Adds weight · `published_cem`, from the second epoch on.

    Clusters come from k-means within every class, fitted anew before every epoch in eval, from
    where they were; first centroids are drawn in proportion to distance. It differs from the
    published code in that clusters are fitted to calibration images (at most 1,000) and not in a
    second pass over all; that weights and variances are those of the row's own class; and that the
    factor on learning rates (`published_share`) is 1, as there when starting from trained weights.
    Its hinge and offset hide the noise from it: what it lowers is the scatter within clusters.

    Raises:
        BadPlan: if a setting is out of range.
    """

    name: ClassVar[str] = "cem-published"
    reference: ClassVar[str] = "conditional entropy maximisation, arXiv 2503.00383"

    weight: float
    clusters: int = 5
    floor: float = 0.125
    offset: float = 0.01

    def __post_init__(self) -> None:
        numbers = (self.weight, self.floor, self.offset)
        if self.clusters < 1 or not all(0 < value < math.inf for value in numbers):
            raise BadPlan(
                "cem-published: weight, clusters, floor and offset must be positive, got "
                f"{self.weight:g}, {self.clusters}, {self.floor:g} and {self.offset:g}"
            )

    def prepare(self, setting: Setting) -> Part:
        z, y = calibration(setting, self, self.clusters)
        memory = Fitted(setting.classes, self.clusters, z.shape[1])

        def refit(progress: float) -> None:
            assert setting.encode is not None and setting.x is not None  # noqa: PT018, S101
            place = memory.centroids.device
            rows, there = padded(
                setting.encode(setting.x.to(place)).float(), y.to(place), setting.classes
            )
            found = fit_padded(
                rows,
                there,
                clusters=self.clusters,
                generator=setting.rng.child("clusters").torch(),
                power=1.0,
                start=None if memory.reached < 0 else memory.centroids,
            )
            memory.take(found, progress)

        def term(batch: Batch) -> Tensor:
            if not batch.training or batch.progress == 0:
                return batch.features.new_zeros(())
            if batch.progress > memory.reached:
                refit(batch.progress)
            assert batch.noise is not None  # noqa: S101 - refused before training
            return self.weight * published_cem(
                batch.features,
                batch.y,
                memory.clusters,
                sigma=batch.noise,
                class_size=memory.class_size,
                floor=self.floor,
                offset=self.offset,
            )

        def observe(batch: Batch) -> None:
            memory.seen.add_(len(batch.y))

        return Part(term=term, modules=memory, observe=observe, needs_noise=True)

    def __str__(self) -> str:
        return written(self)


class Fitted(nn.Module):
    """Clusters, how far training had come when they were fitted, and images since."""

    centroids: Tensor
    variances: Tensor
    shares: Tensor
    class_size: Tensor
    seen: Tensor
    fitted: Tensor

    def __init__(self, classes: int, clusters: int, values: int) -> None:
        nn.Module.__init__(self)
        self.register_buffer("centroids", torch.zeros(classes, clusters, values))
        self.register_buffer("variances", torch.zeros(classes, clusters, 1))
        self.register_buffer("shares", torch.zeros(classes, clusters))
        self.register_buffer("class_size", torch.ones(classes))
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("fitted", torch.tensor(-1.0, dtype=torch.float64))
        self._reached: float | None = None

    @property
    def reached(self) -> float:
        """The progress at which clusters were fitted; read back once, not at every step."""
        if self._reached is None:
            self._reached = float(self.fitted)
        return self._reached

    @property
    def clusters(self) -> ClassClusters:
        """The clusters as they were fitted."""
        return ClassClusters(centroids=self.centroids, variances=self.variances, shares=self.shares)

    def take(self, found: ClassClusters, progress: float) -> None:
        """Keep new clusters, and the class size of the epoch before."""
        self.centroids.copy_(found.centroids)
        self.variances.copy_(found.variances)
        self.shares.copy_(found.shares)
        self.class_size.copy_((self.seen / len(self.class_size)).expand_as(self.class_size))
        self.seen.zero_()
        self.fitted.fill_(progress)
        self._reached = progress
