"""Tokens of a transformer in a secret order."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from splitveil.errors import BadPlan
from splitveil.release.base import Release, ReleaseRecipe
from splitveil.shapes import Features


@dataclass(frozen=True)
class ShuffledTokens(Release, ReleaseRecipe):
    """Send tokens in an order drawn anew for every image, the first `kept` in their places.

    No density; at most ln (tokens - kept)! nats are hidden, and positions that tokens have learnt
    by then give most of them away.

    Raises:
        BadPlan: if there are no tokens to shuffle.
    """

    name: ClassVar[str] = "shuffle-tokens"

    tokens: int
    kept: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.kept < self.tokens:
            raise BadPlan(f"of {self.tokens} tokens {self.kept} cannot be kept in their places")

    def fit(self, z: Features) -> "ShuffledTokens":
        return self

    def __call__(self, z: Features, generator: torch.Generator) -> Features:
        if z.shape[1] % self.tokens:
            raise BadPlan(f"{z.shape[1]} values are no {self.tokens} tokens: give their number")
        parts = z.unflatten(1, (self.tokens, -1))
        keys = torch.rand(len(z), self.tokens, generator=generator)
        keys[:, : self.kept] = torch.arange(self.kept) - float(self.kept)
        order = keys.argsort(1).to(z.device)
        return parts.gather(1, order[:, :, None].expand_as(parts)).flatten(1)

    @property
    def is_random(self) -> bool:
        return True

    def bits(self, features: int) -> float:
        return 32.0 * features
