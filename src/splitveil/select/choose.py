"""The choice: hard limits first, then the Pareto front, then a preference; exact enumeration."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from splitveil.select.candidates import Candidate
from splitveil.select.limits import Breach, Limits, breaches
from splitveil.select.pareto import front
from splitveil.select.prefer import Lexicographic, Preference
from splitveil.select.relax import Relaxation, minimal_relaxations
from splitveil.select.scenarios import Regret

_DEFAULT = Lexicographic()


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What passes the limits, what is chosen, and why the rest is not.

    `fitting` pass every limit and met every attack, `front` are those of them that none dominates,
    `chosen` is one of these. `unproven` pass every limit but met too few attacks: they are never
    chosen. `failing` break a limit. `relaxations` are there if nothing fits, `regrets` if there
    was more than one scenario: the candidates then are those of the worst case.
    """

    limits: Limits
    chosen: Candidate | None
    front: tuple[Candidate, ...]
    fitting: tuple[Candidate, ...]
    unproven: tuple[Candidate, ...]
    failing: tuple[tuple[Candidate, tuple[Breach, ...]], ...]
    relaxations: tuple[Relaxation, ...] = field(default=())
    regrets: tuple[Regret, ...] = field(default=())


def select(
    candidates: Sequence[Candidate], limits: Limits, prefer: Preference = _DEFAULT
) -> Selection:
    """Go through every candidate and choose.

    Exact: nothing is sampled or pruned. A dominated candidate more or less changes nothing; a
    tighter limit never lets another candidate in. The chosen one's leakage is the least of many
    measured ones and so flatters it: audit it again on untouched images.
    """
    judged = [(one, breaches(one, limits)) for one in candidates]
    passing = [one for one, broken in judged if not broken]
    fitting = tuple(one for one in passing if not one.missing)
    best = front(fitting)
    proven = [one for one in candidates if not one.missing]
    return Selection(
        limits=limits,
        chosen=prefer.best(best),
        front=best,
        fitting=fitting,
        unproven=tuple(one for one in passing if one.missing),
        failing=tuple((one, broken) for one, broken in judged if broken),
        relaxations=() if fitting else minimal_relaxations(proven, limits),
    )
