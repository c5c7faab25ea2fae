"""Features whose distances say little of the images' distances."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from splitveil.defences.base import Batch, Component, Part, Setting, written
from splitveil.errors import BadPlan
from splitveil.estimators.trained_dependence import (
    differentiable_distances,
    trained_correlation,
)

_LEAST = 4


@dataclass(frozen=True)
class NoPeek(Component):
    """Adds weight · max(0, dCor²(x, z)) over the batch, U-centred: unbiased at independence.

    The published estimate keeps its bias, which for the few images of a batch in many dimensions
    is near 1 whatever the dependence. Clean features are priced, before any release.

    It misleads where dCor is read as leakage: a decoder follows any bijection, and small
    distance correlation does not stop it.

    Raises:
        BadPlan: if the weight is not positive.
    """

    name: ClassVar[str] = "nopeek"
    reference: ClassVar[str] = "Vepakomma et al. 2020; Székely and Rizzo 2014 (without bias)"

    weight: float

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf"):
            raise BadPlan(f"nopeek: weight must be positive and finite, got {self.weight}")

    def prepare(self, setting: Setting) -> Part:
        setting.crossing(self)
        return Part(term=self.term)

    def term(self, batch: Batch) -> Tensor:
        """The price of a batch."""
        z = batch.features
        if len(z) < _LEAST:
            return z.sum() * 0
        images = differentiable_distances(batch.x.flatten(1))
        found = trained_correlation(images, differentiable_distances(z))
        return self.weight * found.clamp_min(0).to(z.dtype)

    def __str__(self) -> str:
        return written(self)
