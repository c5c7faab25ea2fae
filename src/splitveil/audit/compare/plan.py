"""What is compared, as plain settings."""

from dataclasses import dataclass

from splitveil.audit.compare.span import Span
from splitveil.errors import BadPlan

ATTACKS = (
    "PatchRidge()",
    "Ridge()",
    "SmallDecoder(epochs=6)",
    "InverseResidual(epochs=6)",
    "AttentionDecoder(epochs=6, width=64, depth=1)",
)
"""Closed forms and decoders of three builds, none of them that of an adversary in training."""


@dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """What is compared.

    `defences` are written with a range, `noise(0.05..2)`, which is tuned to every drop, or without,
    which is trained as it stands; `hardened` are folders or factories as `read_ready` takes them;
    `cuts` are names or ids; `drops` are points of accuracy given up against the same training
    without a defence, rising; `trainings` is the most a range may cost at a cut; `attacks` are
    recipes.

    Raises:
        BadPlan: if there is nothing to compare, or drops do not rise from 0 or more.
    """

    defences: tuple[str, ...] = ()
    cuts: tuple[str, ...] = ()
    hardened: tuple[str, ...] = ()
    drops: tuple[float, ...] = (0.0, 1.0, 2.0, 5.0)
    trainings: int = 5
    attacks: tuple[str, ...] = ATTACKS
    patience: int | None = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.defences or self.hardened) or not self.cuts:
            raise BadPlan("give at least one defence, such as 'noise(0.05..2)', and one cut")
        steps = [b - a for a, b in zip(self.drops, self.drops[1:], strict=False)]
        if not self.drops or self.drops[0] < 0 or any(not step > 0 for step in steps):
            raise BadPlan(f"drops are points of accuracy that rise from 0, got {self.drops}")
        if self.trainings < 1:
            raise BadPlan(f"trainings must be at least 1, got {self.trainings}")
        for given in (self.defences, self.cuts, self.hardened):
            if len(set(given)) < len(given):
                raise BadPlan("a defence or cut is named twice")
        for text in self.defences:
            Span.read(text)

    @property
    def most_trainings(self) -> int:
        """How many trainings it may take, those without a defence included."""
        each = sum(self.trainings if Span.read(t).varies else 1 for t in self.defences)
        return len(self.cuts) * (1 + each)
