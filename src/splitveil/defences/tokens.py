"""Fewer tokens of a vision transformer across the cut, or none in their order."""

from dataclasses import dataclass
from math import isqrt
from typing import ClassVar, Literal

import torch

from splitveil.defences.base import Component, Part, Setting, Structure, TrainedRelease, written
from splitveil.errors import BadPlan
from splitveil.nets.projections import FirstToken, Grouping, OtherTokens, Ungrouping
from splitveil.release import ShuffledTokens
from splitveil.shapes import Features


@dataclass(frozen=True)
class Tokens(Component):
    """What crosses of a transformer's tokens.

    "class": the class token alone; "pool": means over 2x2 patches; "drop": every other patch of a
    chess board; "shuffle": all, in a secret order drawn at every send. The cloud fills learnt
    tokens in; a class token always crosses.

    It misleads where the class token is taken for a label: at early cuts it already holds much of
    the image.

    Raises:
        BadPlan: if no grid of tokens crosses, or a class token is wanted and there is none.
    """

    name: ClassVar[str] = "tokens"
    reference: ClassVar[str] = "Rao et al. 2021 (dropping); Yao et al. 2022 (shuffling)"

    how: Literal["class", "pool", "drop", "shuffle"]

    def _grid(self, setting: Setting) -> tuple[int, int, int]:
        """Tokens, width, and whether the first is a class token (0 or 1)."""
        shape = setting.shape(self)
        if len(shape) != 2:
            raise BadPlan(f"{self} needs tokens (t, d), {shape} crosses here")
        tokens, width = shape
        first = next((f for f in (0, 1) if isqrt(tokens - f) ** 2 == tokens - f), None)
        if first is None or tokens < 4:
            raise BadPlan(
                f"{self}: {tokens} tokens are no square grid, with a class token or without"
            )
        if self.how == "class" and not first:
            raise BadPlan(f"{self}: no class token crosses here, all {tokens} are patches")
        return tokens, width, first

    def structure(self, setting: Setting) -> Structure | None:
        tokens, width, first = self._grid(setting)
        if self.how == "shuffle":
            return None
        if self.how == "class":
            return Structure(device=FirstToken(), cloud=OtherTokens(tokens, width))
        groups = self._groups(isqrt(tokens - first), first)
        return Structure(
            device=Grouping(tokens, groups, mean=int(self.how == "pool")),
            cloud=Ungrouping(tokens, groups, width),
        )

    def _groups(self, side: int, first: int) -> list[int]:
        """The group of every token, -1 for none."""
        place = torch.arange(side * side)
        row, column = place // side, place % side
        if self.how == "pool":
            group = row // 2 * ((side + 1) // 2) + column // 2
        else:
            kept = (row + column) % 2 == 0
            group = torch.where(kept, kept.cumsum(0) - 1, -first - 1)
        return [0] * first + [max(-1, value) for value in (group + first).tolist()]

    def prepare(self, setting: Setting) -> Part:
        setting.crossing(self)
        if self.how != "shuffle":
            return Part()
        tokens, _, first = self._grid(setting)
        release = ShuffledTokens(tokens, first)

        def send(z: Features, generator: torch.Generator) -> tuple[Features, None]:
            return release(z, generator), None

        return Part(release=TrainedRelease(recipe=release, send=send))

    def __str__(self) -> str:
        return written(self)
