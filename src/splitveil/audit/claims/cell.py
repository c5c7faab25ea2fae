"""What a claim is made about: private images, their clean features, and what is done to them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

from torch import Tensor

from splitveil.errors import AuditError
from splitveil.partition import Partition
from splitveil.quantities import Quantity
from splitveil.release.base import Release
from splitveil.release.gaussian import ClippedGaussian
from splitveil.rng import Rng


@dataclass(frozen=True, eq=False)
class Cell:
    """One cut under one release, seen with the private images.

    `x` are validation and test images, `z` their features before the release, `y` their labels or
    None; `knows_label` says whether the attacker is told them.
    """

    partition: Partition
    x: Tensor
    z: Tensor
    y: Tensor | None
    knows_label: bool
    rng: Rng

    @property
    def release(self) -> Release:
        """What is done to the features."""
        return self.partition.release

    @cached_property
    def noisy(self) -> Release:
        """The part of the release that adds noise, or all of it where none does."""
        return self.release.dominating()

    @property
    def gaussian(self) -> ClippedGaussian | None:
        """The clipped Gaussian noise in the release, if that is what it is."""
        return self.noisy if isinstance(self.noisy, ClippedGaussian) else None

    @property
    def known(self) -> Tensor | None:
        """Labels, where the attacker is told them."""
        return self.y if self.knows_label else None


@dataclass(eq=False)
class Found:
    """Quantities and plain details; a piece that cannot be had leaves its reason instead."""

    quantities: dict[str, Quantity] = field(default_factory=dict)
    details: dict[str, object] = field(default_factory=dict)

    def gather(self, pieces: Iterable[tuple[str, Callable[[], dict[str, Quantity]]]]) -> "Found":
        """Take in what each piece gives; keep the reason of one that gives nothing."""
        without: dict[str, str] = {}
        for name, piece in pieces:
            try:
                self.quantities |= piece()
            except AuditError as error:
                without[name] = " ".join(str(error).split())
        if without:
            self.details["without"] = without
        return self


Claim: TypeAlias = Callable[[Cell], Found]


def noted(quantity: Quantity, *notes: str) -> Quantity:
    """The quantity with more said of what it rests on."""
    return replace(quantity, assumptions=(*notes, *quantity.assumptions))
