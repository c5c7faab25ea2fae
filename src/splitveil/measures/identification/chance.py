"""Upper bounds on a chance: how they are stated, and what they inherit from one another."""

from splitveil.errors import BadPlan
from splitveil.quantities import Direction, Kind, Quantity


def at_most(value: float, *causes: Quantity, notes: tuple[str, ...] = ()) -> Quantity:
    """A chance of at most `value`, as sure as everything it rests on together.

    Raises:
        BadPlan: if a cause is not an upper bound.
    """
    for cause in causes:
        if not (cause.is_bound and cause.direction is Direction.UPPER):
            raise BadPlan(
                f"a chance is bounded by upper bounds only, got a {cause.kind.value} in "
                f"{cause.unit} ({cause.direction.value})"
            )
    sure = all(cause.kind is Kind.THEOREM for cause in causes)
    inherited = tuple(dict.fromkeys(note for cause in causes for note in cause.assumptions))
    value = min(1.0, value)
    return Quantity(
        value=value,
        low=0.0,
        high=value,
        unit="probability",
        kind=Kind.THEOREM if sure else Kind.CONFIDENCE,
        n=max((cause.n for cause in causes), default=0),
        direction=Direction.UPPER,
        level=max(0.0, 1 - sum(1 - cause.level for cause in causes)),
        assumptions=(*notes, *inherited),
    )
