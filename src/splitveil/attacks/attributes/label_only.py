"""The floor of an attribute attack: what the label tells already."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from splitveil.attacks.attributes.base import AttributeAttack, AttributeGuesser, check
from splitveil.attacks.classes import Classes
from splitveil.rng import Rng
from splitveil.shapes import Labels, Logits
from splitveil.threat import Observation, QueryFree


@dataclass(frozen=True, eq=False)
class Commonest(AttributeGuesser):
    """The attribute's shares by label, then over all: (classes + 1, values)."""

    values: Labels
    shares: Tensor
    classes: Classes

    def scores(self, observation: Observation, rng: Rng) -> Logits:
        labels = observation.labels if len(self.classes.seen) else None
        rows = self.classes.rows(None if labels is None else labels.cpu(), len(observation.z))
        return self.shares[rows]


@dataclass(frozen=True)
class LabelOnly(AttributeAttack):
    """Answer with the commonest value among auxiliary images of the label, whatever was sent.

    The commonest of all for a label without examples, or where the attacker knows no labels. What
    any other attack gets beyond this is what z leaks. Knowledge: query-free. Cost: none.
    """

    requires: ClassVar[type[QueryFree]] = QueryFree
    reference: ClassVar[str] = "floor: commonest value of the label"

    def fit(self, knowledge: QueryFree, attribute: Labels, rng: Rng) -> AttributeGuesser:
        check(self, knowledge, attribute)
        y = knowledge.auxiliary.y if knowledge.knows_label else None
        classes = Classes.of(None if y is None else y.cpu())
        rows = classes.rows(None if y is None else y.cpu(), len(attribute))
        values, places = torch.unique(attribute.cpu(), return_inverse=True)
        shares = classes.means(one_hot(places, len(values)).float(), rows)
        return Commonest(values, shares, classes)
