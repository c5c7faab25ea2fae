"""Which attacks a candidate did not meet: cheap attacks alone prove little."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from splitveil.audit.schedule import FEW
from splitveil.audit.verdict import TRIVIAL
from splitveil.records import Outcome, Status, Task
from splitveil.select.reading import method_name

CHEAP = frozenset({*TRIVIAL, "NearestAuxiliary", "NearestFeatures", "PatchRidge", "PosteriorMean"})
"""Attacks that an audit runs everywhere because they cost little; alone they accept nothing."""

NO_STRONG_ATTACK = "any attack beyond the cheap ones"

Cell = tuple[str, str]


def missing_attacks(
    outcomes: Sequence[Outcome], not_attacked: Iterable[Mapping[str, str]]
) -> dict[Cell, tuple[str, ...]]:
    """For each (cut, release), the attacks it should have met and did not.

    A method counts as met if its dearest recipe was run to the end there: a decoder of 4 epochs
    does not stand for one of 12. A cut without a release must meet all methods that any such cut
    met; one with a release all that others with it met, and all that are not cheap. What does not
    apply to a cut is not missing there, nor is what the budget meant for few cuts.
    """
    attacks = [
        one
        for one in outcomes
        if one.trial.task is Task.ATTACK and one.status is Status.DONE and one.trial.cut != "*"
    ]
    met: dict[Cell, set[str]] = {}
    for one in attacks:
        met.setdefault((one.trial.cut, one.trial.release), set()).add(one.trial.method)
    dearest = _dearest(attacks)
    strong = {recipe for name, recipe in dearest.items() if name not in CHEAP}
    left = list(not_attacked)
    alien = {
        (entry["cut"], entry["release"], method_name(entry["method"]))
        for entry in left
        if entry["reason"].startswith("does not apply")
    }
    few = {method_name(e["method"]) for e in left if e["reason"].startswith(FEW)}
    found: dict[Cell, tuple[str, ...]] = {}
    for cell, done in met.items():
        names = {
            method_name(recipe)
            for other, recipes in met.items()
            if other[1] == cell[1]
            for recipe in recipes
        }
        wanted = {dearest[name] for name in names if name not in TRIVIAL}
        wanted |= strong
        wanted = {
            recipe
            for recipe in wanted
            if (*cell, method_name(recipe)) not in alien and method_name(recipe) not in few
        }
        missing = sorted(wanted - done)
        found[cell] = tuple(missing) if strong else (*missing, NO_STRONG_ATTACK)
    return found


def attacks_met(outcomes: Iterable[Outcome], cut: str, release: str) -> tuple[str, ...]:
    """The dearest recipe of every method that was run to its end at a cut, floors left out."""
    there = _dearest(_ended(outcomes, cut, release))
    return tuple(sorted(recipe for name, recipe in there.items() if name not in TRIVIAL))


def recipes_met(outcomes: Iterable[Outcome], cut: str, release: str) -> frozenset[str]:
    """Every recipe that was run to its end at a cut."""
    return frozenset(one.trial.method for one in _ended(outcomes, cut, release))


def _ended(outcomes: Iterable[Outcome], cut: str, release: str) -> list[Outcome]:
    return [
        one
        for one in outcomes
        if one.trial.task is Task.ATTACK
        and one.status is Status.DONE
        and (one.trial.cut, one.trial.release) == (cut, release)
    ]


def _dearest(attacks: Iterable[Outcome]) -> dict[str, str]:
    """For each method the recipe that took longest on average."""
    seconds: dict[str, dict[str, list[float]]] = {}
    for one in attacks:
        recipes = seconds.setdefault(method_name(one.trial.method), {})
        recipes.setdefault(one.trial.method, []).append(one.seconds)
    return {
        name: max(recipes, key=lambda recipe: (fmean(recipes[recipe]), recipe))
        for name, recipes in seconds.items()
    }
