"""The mean image: the floor of an attacker who sees nothing."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.classes import Classes
from splitveil.attacks.evidence import in_shape, observed, targets
from splitveil.partition.layout import Layout
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.threat import Observation, QueryFree


@dataclass(frozen=True, eq=False)
class Constant(Reconstructor):
    """Answers with a row of `table` (classes + 1, d): the class's, or the last."""

    table: Tensor
    classes: Classes
    layout: Layout
    shape: tuple[int, ...]

    def __call__(self, observation: Observation, rng: Rng) -> Targets:
        _, rows = observed(observation, self.layout, self.classes, self.table.device)
        return in_shape(self.table[rows], self.shape)


@dataclass(frozen=True)
class MeanImage(Attack):
    """Answer with the mean of the auxiliary targets, whatever was sent.

    x̂ = mean_i x_i, which minimises the squared error without z. Knowledge: query-free. Cost: one
    pass over the auxiliary targets.
    """

    requires: ClassVar[type[QueryFree]] = QueryFree
    reference: ClassVar[str] = "floor: least-squares constant"

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        found = targets(self, knowledge)
        mean = found.x.double().mean(0, keepdim=True).float()
        nobody = Classes.of(None)
        return Constant(mean, nobody, knowledge.layout, found.shape)
