"""The choice: hard limits first, then the Pareto front, then a preference; exact enumeration."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from splitveil.select.candidates import Candidate, Link, read_candidates
from splitveil.select.limits import Breach, Limits, breaches
from splitveil.select.met import CHEAP
from splitveil.select.pareto import front
from splitveil.select.prefer import Lexicographic, Preference
from splitveil.select.profile import Profile
from splitveil.select.reading import Records
from splitveil.select.relax import Relaxation, minimal_relaxations

_DEFAULT = Lexicographic()


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What passes the limits, what is chosen, and why the rest is not.

    `fitting` pass every limit and met every attack, `front` are those of them that none dominates,
    `chosen` is one of these. `unproven` pass every limit but met too few attacks: they are never
    chosen. `failing` break a limit. `relaxations` are there if nothing fits.
    """

    limits: Limits
    chosen: Candidate | None
    front: tuple[Candidate, ...]
    fitting: tuple[Candidate, ...]
    unproven: tuple[Candidate, ...]
    failing: tuple[tuple[Candidate, tuple[Breach, ...]], ...]
    relaxations: tuple[Relaxation, ...] = field(default=())


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


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What would have been chosen had one attack never been tried.

    `chosen` carries the leakage it would have shown then; `leaks` is the same cut and release with
    its leakage to all attacks.
    """

    attack: str
    chosen: Candidate | None
    leaks: Candidate | None

    def sentence(self, chosen: Candidate | None) -> str:
        """How the choice hangs on this attack, given what is chosen with all attacks."""
        if self.chosen is None:
            return f"Without {self.attack}: nothing would be chosen."
        same = chosen is not None and (self.chosen.cut, self.chosen.release) == (
            chosen.cut,
            chosen.release,
        )
        looked = self.chosen.leakage.high
        if same:
            return f"Without {self.attack}: the same choice, L up to {looked:.3g}."
        leaks = "" if self.leaks is None else f"; to all attacks {self.leaks.leakage.high:.3g}"
        return (
            f"Without {self.attack}: {self.chosen.label}, which would seem to leak L up to "
            f"{looked:.3g}{leaks}."
        )


def sensitivity(
    records: Records,
    limits: Limits,
    *,
    link: Link | None = None,
    profile: Profile | None = None,
    prefer: Preference = _DEFAULT,
) -> tuple[Sensitivity, ...]:
    """The choice without each attack that the run tried, one at a time.

    The last attack that is not cheap cannot be left out, since cheap ones alone choose nothing.
    """
    everything = read_candidates(records, link=link, profile=profile)
    by_place = {(one.cut, one.release): one for one in everything}
    found = []
    for name in records.methods:
        if all(other in CHEAP for other in records.methods if other != name):
            continue
        rest = read_candidates(records.without(name), link=link, profile=profile)
        chosen = select(rest, limits, prefer).chosen
        leaks = None if chosen is None else by_place[chosen.cut, chosen.release]
        found.append(Sensitivity(attack=name, chosen=chosen, leaks=leaks))
    return tuple(found)
