"""Upper bounds on a chance: how they are stated, and what they inherit from one another."""

from splitveil.errors import BadPlan
from splitveil.measures.information.claims import weakest
from splitveil.quantities import Direction, Quantity


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
    kind, level = weakest(causes)
    inherited = tuple(dict.fromkeys(note for cause in causes for note in cause.assumptions))
    value = min(1.0, value)
    return Quantity(
        value=value,
        low=0.0,
        high=value,
        unit="probability",
        kind=kind,
        n=max(cause.n for cause in causes),
        direction=Direction.UPPER,
        level=level,
        assumptions=(*notes, *inherited),
    )
