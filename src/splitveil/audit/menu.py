"""Which attacks a budget runs by itself, at how many cuts, and what it leaves to larger ones.

The core, PatchRidge, the nearest image, Ridge and Decoder, is what cuts are compared by. Everything
else here is tried at few cuts: it tells how far the core is from the strongest attack known there.
"""

from dataclasses import dataclass
from typing import Literal

from splitveil.audit.plan import BUDGETS, Budget
from splitveil.audit.recipes import read_attack
from splitveil.audit.schedule import FEW

GALLERIES = ("NearestFeatures()", "PosteriorMean()")
"""Closed forms over the attacker's own images: run behind noise by every budget, where they are
strong and few values cross, and at cuts without a release by those that have the time."""


@dataclass(frozen=True)
class _Extra:
    """A recipe with room for the budget's effort, and the setting that says at how many cuts."""

    text: str
    cuts: Literal["family_cuts", "gallery_cuts", "search_cuts", "wide_cuts"]

    def recipe(self, limits: Budget) -> str:
        return read_attack(self.text.format(epochs=limits.epochs, restarts=limits.restarts))[0]


_EXTRAS = (
    _Extra("Likelihood(restarts={restarts})", "search_cuts"),
    _Extra("Refined(decoder=Decoder(epochs={epochs}))", "family_cuts"),
    _Extra("InverseResidual(epochs={epochs})", "family_cuts"),
    _Extra("EnhancedRepresentation(epochs={epochs})", "family_cuts"),
    _Extra("EnhancedDecoder(epochs={epochs})", "family_cuts"),
    _Extra("PartialLeastSquares()", "family_cuts"),
    _Extra("AttentionDecoder(epochs={epochs})", "wide_cuts"),
    _Extra("Unrolled(epochs={epochs})", "wide_cuts"),
    _Extra("ShadowEncoder(epochs={epochs})", "wide_cuts"),
    _Extra("AdversarialDecoder()", "wide_cuts"),
    _Extra("UnSplit()", "wide_cuts"),
    _Extra("DeepImagePrior()", "wide_cuts"),
)


def core(limits: Budget) -> tuple[str, str]:
    """The dear attacks that cuts are compared by: Ridge and Decoder."""
    return read_attack("Ridge()")[0], read_attack(f"Decoder(epochs={limits.epochs})")[0]


def extras(limits: Budget) -> tuple[tuple[str, int], ...]:
    """Attacks beyond the core with the number of cuts for each, those worth most first."""
    found = ((extra, getattr(limits, extra.cuts)) for extra in _EXTRAS)
    return tuple((extra.recipe(limits), cuts) for extra, cuts in found if cuts)


def withheld(limits: Budget, cuts: int) -> tuple[tuple[str, str], ...]:
    """Attacks, by name, that a budget does not run at every one of `cuts` cuts, and why."""
    found = []
    for extra in (*(_Extra(text, "gallery_cuts") for text in GALLERIES), *_EXTRAS):
        name = f"{extra.text.partition('(')[0]}()"
        count = min(getattr(limits, extra.cuts), limits.decoder_cuts)
        if not count:
            tier = next(tier for tier, other in BUDGETS.items() if getattr(other, extra.cuts))
            where = " at cuts without a release" if extra.text in GALLERIES else ""
            found.append((name, f"budget: {name} is tried{where} from --budget {tier} on"))
        elif count < cuts:
            found.append((name, f"{FEW}: {name} at {count} of {cuts} cuts, spaced by depth"))
    return tuple(found)
