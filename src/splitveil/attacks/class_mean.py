"""The class mean: the floor of an attacker who sees nothing but the label."""

from dataclasses import dataclass
from typing import ClassVar

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.evidence import targets
from splitveil.attacks.mean_image import Constant
from splitveil.rng import Rng
from splitveil.threat import QueryFree


@dataclass(frozen=True)
class ClassMean(Attack):
    """Answer with the mean of the auxiliary targets of the true class, whatever was sent.

    x̂ = mean over {i : y_i = y} of x_i; the overall mean for a class without auxiliary targets, or
    where the attacker knows no labels. The headline leakage is measured against this floor.
    Knowledge: query-free. Cost: one pass over the auxiliary targets.
    """

    requires: ClassVar[type[QueryFree]] = QueryFree
    reference: ClassVar[str] = "floor: least-squares constant per class"

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        found = targets(self, knowledge)
        table = found.classes.means(found.x, found.rows)
        return Constant(table, found.classes, knowledge.layout, found.shape)
