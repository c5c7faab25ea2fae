"""Releases one after another: clip and noise first, rounding last."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from splitveil.errors import BadPlan
from splitveil.release.base import Envelope, Release, ReleaseRecipe
from splitveil.release.coding import Coder
from splitveil.rng import Rng
from splitveil.shapes import Features, PerImage


@dataclass(frozen=True, eq=False)
class ChainedRelease(Release):
    """Each release applied to what the one before it sent."""

    stages: tuple[Release, ...]

    def __call__(self, z: Features, generator: torch.Generator) -> Features:
        for stage, own in zip(self.stages, self._generators(generator), strict=True):
            z = stage(z, own)
        return z

    def _generators(self, generator: torch.Generator) -> list[torch.Generator]:
        """One stream a stage, so that a stage's draws can be repeated without the others'."""
        seeds = torch.randint(2**62, (len(self.stages),), generator=generator)
        return [torch.Generator().manual_seed(int(seed)) for seed in seeds]

    @property
    def has_density(self) -> bool:
        """Whether the last stage has one and those before it are deterministic."""
        *before, last = self.stages
        return last.has_density and not any(stage.is_random for stage in before)

    @property
    def is_random(self) -> bool:
        """Whether any stage is."""
        return any(stage.is_random for stage in self.stages)

    def log_prob(self, sent: Features, z: Features) -> PerImage | None:
        if not self.has_density:
            return None
        *before, last = self.stages
        idle = torch.Generator()
        for stage in before:
            z = stage(z, idle)
        return last.log_prob(sent, z)

    def envelope(self, features: int) -> Envelope | None:
        """That of the last stage, where the chain has a density."""
        return self.stages[-1].envelope(features) if self.has_density else None

    def bits(self, features: int) -> float:
        return self.stages[-1].bits(features)

    def capacity(self, features: int) -> float:
        """The narrowest stage's: information never grows along the chain."""
        return min(stage.capacity(features) for stage in self.stages)

    def dominating(self) -> Release:
        """The chain up to its first stage with a density; what follows is post-processing."""
        noisy = next((i for i, stage in enumerate(self.stages) if stage.has_density), None)
        if noisy is None or noisy == len(self.stages) - 1:
            return self
        return self.stages[0] if noisy == 0 else ChainedRelease(self.stages[: noisy + 1])

    def coder(self, generator: torch.Generator) -> Coder:
        return self.stages[-1].coder(self._generators(generator)[-1])


@dataclass(frozen=True)
class Chain(ReleaseRecipe):
    """Recipes applied in order, each calibrated on what the ones before it send.

    Raises:
        BadPlan: if it is empty.
    """

    name: ClassVar[str] = "chain"
    stages: tuple[ReleaseRecipe, ...]

    def __post_init__(self) -> None:
        if not self.stages:
            raise BadPlan("a chain of releases needs at least one: use Identity() for none")

    def fit(self, z: Features) -> ChainedRelease:
        generator = Rng(0, ("release", "calibration")).torch()
        fitted: list[Release] = []
        for recipe in self.stages:
            fitted.append(recipe.fit(z))
            z = fitted[-1](z, generator)
        return ChainedRelease(tuple(fitted))

    @property
    def content(self) -> "Chain":
        return Chain(tuple(stage.content for stage in self.stages))

    def __str__(self) -> str:
        return "+".join(str(stage) for stage in self.stages)
