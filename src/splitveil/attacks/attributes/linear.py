"""Least squares from everything sent to indicators of an attribute."""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch.nn.functional import one_hot

from splitveil.attacks.attributes.base import AttributeAttack, AttributeGuesser, Examples
from splitveil.attacks.evidence import observed
from splitveil.attacks.ridge import Linear, solve
from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.shapes import Labels, Logits
from splitveil.threat import Observation, Pairs, QueryFree


@dataclass(frozen=True, eq=False)
class Indicators(AttributeGuesser):
    """A ridge to one indicator a value."""

    values: Labels
    linear: Linear

    def scores(self, observation: Observation, rng: Rng) -> Logits:
        linear = self.linear
        z, rows = observed(observation, linear.layout, linear.classes, linear.x_mean.device)
        return linear.predict(z, rows)


@dataclass(frozen=True, kw_only=True)
class LinearAttribute(AttributeAttack):
    """The value whose indicator is predicted highest by ridge regression from z.

    1{a = v} ~ p(v | y) + (z - z̄_y) w_v, all v at once, on class-centred data, with the penalty of
    least generalised cross-validation. For two values of equal frequency and Gaussian z it is
    linear discriminant analysis. Silent on what only a non-linear attacker sees.

    Knowledge: pairs, or one query an auxiliary image, at most `samples`. Cost: that of `Ridge`.
    """

    requires: ClassVar[type[QueryFree]] = Pairs
    reference: ClassVar[str] = "Hoerl & Kennard 1970; Hastie, Tibshirani & Buja 1994"

    samples: int = 4000

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise BadPlan(f"samples must be at least 2, got {self.samples}")

    def fit(self, knowledge: QueryFree, attribute: Labels, rng: Rng) -> AttributeGuesser:
        examples = Examples.of(self, knowledge, attribute, rng, limit=self.samples)
        wanted = one_hot(examples.places, len(examples.values)).float()
        found = replace(examples.found, x=wanted, shape=(len(examples.values),))
        return Indicators(examples.values, solve(found)[0])
