"""What an attacker may know: the only door from a partition to an attack.

Knowledge is a capability, not a flag. Each level grants what the one above it grants and one thing
more, so an attack that asks for a level by type cannot reach beyond it.

    QueryFree   auxiliary images, the tail, what crosses
    Pairs       and what was sent for each of those images
    BlackBox    and an oracle that turns any image into features, counted, without gradients
    WhiteBox    and the head and the release themselves
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from splitveil.errors import BadInput, BudgetExceeded, KnowledgeMissing
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


class Recorded:
    """What was sent for some images, once: an oracle that knows no others and never runs a head.

    An image that occurs several times answers with what was sent first.

    Raises:
        BadInput: if there is not one z for each image.
    """

    def __init__(self, x: Targets, z: Tensor) -> None:
        if len(x) != len(z):
            raise BadInput(f"{len(z)} features for {len(x)} images: give one z for each image")
        self._z = z.detach()
        self._places: dict[bytes, int] = {}
        for place, row in enumerate(_rows(x)):
            self._places.setdefault(row, place)
        self._used = 0

    @property
    def limit(self) -> int | None:
        """None: what is known already may be read any number of times."""
        return None

    @property
    def used(self) -> int:
        """How many images were looked up."""
        return self._used

    def __call__(self, x: Targets, rng: Rng) -> Features:
        """What was sent for `x`, the same each time.

        Raises:
            KnowledgeMissing: if one of them was never sent.
        """
        try:
            places = [self._places[row] for row in _rows(x)]
        except KeyError:
            raise KnowledgeMissing(
                "only pairs are known, and no other image can be sent: choose an attack that "
                "encodes no images of its own, or audit the model itself"
            ) from None
        self._used += len(places)
        return self._z[torch.tensor(places, dtype=torch.int64, device=self._z.device)]


def _rows(x: Targets) -> list[bytes]:
    return [row.tobytes() for row in x.detach().float().flatten(1).cpu().numpy()]


class Withheld(nn.Module):
    """Stands for a half of the network that the attacker does not hold."""

    def forward(self, z: Tensor) -> Tensor:
        """Refuse.

        Raises:
            KnowledgeMissing: always.
        """
        raise KnowledgeMissing(
            "this attacker holds no part of the network: choose an attack that needs pairs only"
        )


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
class Pairs(QueryFree):
    """Query-free knowledge and an oracle that answers at least for the auxiliary images."""

    oracle: Oracle | Recorded


@dataclass(frozen=True, eq=False)
class BlackBox(Pairs):
    """Knowledge of pairs and a counted oracle that answers for any image."""

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


def only_pairs(
    auxiliary: Auxiliary, z: Tensor, layout: Layout, *, knows_label: bool = True
) -> Pairs:
    """An attacker who owns what was sent for its auxiliary images, and no part of the network.

    Raises:
        BadInput: if there is not one z for each image.
    """
    return Pairs(
        auxiliary=auxiliary,
        tail=Withheld(),
        layout=layout,
        knows_label=knows_label,
        knows_defence=True,
        oracle=Recorded(auxiliary.x, z),
    )


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
