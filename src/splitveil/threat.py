"""What an attacker may know: the only door from a partition to an attack.

Knowledge is a capability, not a flag. Each level grants what the one above it grants and one thing
more, so an attack that asks for a level by type cannot reach beyond it.

    QueryFree   auxiliary images, the tail, what crosses
    BlackBox    and an oracle that turns images into features, counted, without gradients
    WhiteBox    and the head and the release themselves
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from splitveil.errors import BudgetExceeded
from splitveil.nets import evaluating
from splitveil.partition.layout import Layout
from splitveil.partition.types import Partition
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Features, Labels, Targets


@dataclass(frozen=True, eq=False)
class Auxiliary:
    """Images the attacker owns, from the distribution it believes in; never private ones."""

    x: Targets
    y: Labels | None = None


class Oracle:
    """Turns images into what the device would send, counts them, and passes no gradient."""

    def __init__(self, partition: Partition, limit: int | None, batch: int = 256) -> None:
        self._partition = partition
        self._batch = batch
        self._limit = limit
        self._used = 0

    @property
    def limit(self) -> int | None:
        """How many images may be sent in all; None for any number."""
        return self._limit

    @property
    def used(self) -> int:
        """How many images were sent."""
        return self._used

    @torch.no_grad()
    def __call__(self, x: Targets, rng: Rng) -> Features:
        """Transmit `x` with fresh noise.

        Raises:
            BudgetExceeded: before anything is sent, if the query limit would be passed.
        """
        if self.limit is not None and self.used + len(x) > self.limit:
            raise BudgetExceeded(
                f"{len(x)} queries asked, {self.limit - self.used} of {self.limit} left: "
                "raise the query budget or choose an attack that needs fewer"
            )
        self._used += len(x)
        with evaluating(self._partition.head):
            parts = [self._partition.features(batch) for batch in x.split(self._batch)]
        return self._partition.release(torch.cat(parts), rng.torch())


@dataclass(frozen=True, eq=False)
class QueryFree:
    """The attacker holds the cloud half and images of its own.

    `knows_label` says whether observations carry labels; `knows_defence` whether auxiliary
    features come through the release or clean.
    """

    auxiliary: Auxiliary
    tail: nn.Module
    layout: Layout
    knows_label: bool
    knows_defence: bool


@dataclass(frozen=True, eq=False)
class BlackBox(QueryFree):
    """Query-free knowledge and a counted oracle."""

    oracle: Oracle


@dataclass(frozen=True, eq=False)
class WhiteBox(BlackBox):
    """Black-box knowledge and the device's half with its release."""

    head: nn.Module
    release: Release


@dataclass(frozen=True, eq=False)
class Observation:
    """What the attacker intercepts: z of shape (n, sends, f), and labels if it knows them."""

    z: Tensor
    layout: Layout
    labels: Labels | None = None


def white_box(
    partition: Partition,
    auxiliary: Auxiliary,
    *,
    queries: int | None = None,
    knows_label: bool = True,
    knows_defence: bool = True,
) -> WhiteBox:
    """The default audit's attacker: everything but the private images."""
    return WhiteBox(
        auxiliary=auxiliary,
        tail=partition.tail,
        layout=partition.cut.layout,
        knows_label=knows_label,
        knows_defence=knows_defence,
        oracle=Oracle(partition, queries),
        head=partition.head,
        release=partition.release,
    )
