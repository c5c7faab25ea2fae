"""What a conclusion may claim, given the numbers it is drawn from."""

import math
from collections.abc import Iterable

from splitveil.errors import BadPlan
from splitveil.quantities import Direction, Kind, Quantity

_WEAKNESS = {Kind.THEOREM: 0, Kind.CONFIDENCE: 1, Kind.MODEL: 2, Kind.MEASURED: 3, Kind.PROXY: 3}
TOO_HIGH = (
    "rests on an upper estimate of the images' own entropy, as every fitted model gives: the true "
    "least error may lie far below"
)


def weakest(quantities: Iterable[Quantity]) -> tuple[Kind, float]:
    """The weakest kind among several numbers, and the level at which all hold together.

    A measured number behind a conclusion makes it a proxy. Levels add up their failures
    (Bonferroni).
    """
    given = list(quantities)
    worst = max((q.kind for q in given), key=_WEAKNESS.__getitem__)
    failure = sum(1 - q.level for q in given)
    return (Kind.PROXY if worst is Kind.MEASURED else worst), max(0.0, 1 - failure)


def at_most(information: Quantity) -> float:
    """The end of an information at which it is no longer exceeded, nats.

    Raises:
        BadPlan: if it is a lower bound: less error can follow from more information only.
    """
    if information.direction is Direction.LOWER:
        raise BadPlan(
            "an error is bounded from below by an upper bound on the information, but a lower one "
            "was given: use variational_bound, log_det_bound or capacity_bound"
        )
    return max(0.0, information.high)


def conclude(
    value: float, *, sources: Iterable[Quantity], information: Quantity, n: int = 0
) -> Quantity:
    """A least error per value drawn from entropies of the images and an information.

    It is a bound only where every source entropy is a lower bound or exact; from an upper estimate
    it is a proxy, in words.
    """
    entropies = list(sources)
    kind, level = weakest([*entropies, information])
    notes = tuple(dict.fromkeys(note for q in (*entropies, information) for note in q.assumptions))
    if any(q.direction is Direction.UPPER for q in entropies):
        kind, notes = Kind.PROXY, (TOO_HIGH, *notes)
    exact = kind is Kind.THEOREM
    return Quantity(
        value=value,
        low=value,
        high=value if exact else math.inf,
        unit="mse per value",
        kind=kind,
        n=n or information.n,
        direction=Direction.LOWER,
        level=1.0 if exact else level,
        assumptions=notes,
    )
