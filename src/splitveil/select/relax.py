"""What to relax when nothing fits: the least changes of limits that let a candidate pass."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from splitveil.select.candidates import Candidate
from splitveil.select.limits import CRITERIA, Breach, Limits, breaches, option
from splitveil.select.pareto import least
from splitveil.select.units import written


@dataclass(frozen=True, kw_only=True)
class Relaxation:
    """New values for some limits, with which `candidate` passes; None drops a limit.

    The values are the candidate's own, rounded outwards to four digits so that they can be typed.
    """

    candidate: Candidate
    breaches: tuple[Breach, ...]
    limits: Mapping[str, float | int | None]

    def apply(self, limits: Limits) -> Limits:
        """The limits after the relaxation."""
        return replace(limits, **dict(self.limits))

    def __str__(self) -> str:
        """`--max-latency 23.1ms (+3.1ms)`."""
        parts = []
        for breach in self.breaches:
            name, value = breach.name, self.limits[breach.name]
            criterion = CRITERIA[name]
            if value is None:
                reason = "was not measured" if breach.value is None else "is infinite"
                parts.append(f"drop {option(name)}: {criterion.what} {reason}")
                continue
            sign = "+" if criterion.sign > 0 else "-"
            change = written(abs(value - breach.limit), criterion.unit)
            parts.append(f"{option(name)} {written(value, criterion.unit)} ({sign}{change})")
        return " and ".join(parts)


def minimal_relaxations(candidates: Sequence[Candidate], limits: Limits) -> tuple[Relaxation, ...]:
    """The relaxations of which no part can be spared, the fewest limits first.

    Each candidate that fails needs its own excess over each limit; those needing no less than
    another everywhere and more somewhere are left out. Among as many limits, the least relative
    change comes first; of candidates with the same needs, the one that leaks least is named.
    """
    names = list(limits.given())
    needed = sorted(
        ((one, broken) for one in candidates if (broken := breaches(one, limits))),
        key=lambda pair: pair[0].leakage.high,
    )
    excess = np.zeros((len(needed), len(names)))
    for row, (_, broken) in enumerate(needed):
        for breach in broken:
            excess[row, names.index(breach.name)] = breach.excess
    _, first = np.unique(excess, axis=0, return_index=True)
    kept = np.sort(first)[least(excess[np.sort(first)])]
    found = [
        Relaxation(
            candidate=needed[index][0],
            breaches=needed[index][1],
            limits={breach.name: _new_limit(breach) for breach in needed[index][1]},
        )
        for index in kept
    ]
    return tuple(sorted(found, key=_size))


def _size(relaxation: Relaxation) -> tuple[int, float | int]:
    return len(relaxation.breaches), max(
        breach.excess / breach.limit if breach.limit else math.inf for breach in relaxation.breaches
    )


def _new_limit(breach: Breach) -> float | int | None:
    """The candidate's value, away from the limit to the next number of four digits."""
    if breach.value is None:
        return None
    up = CRITERIA[breach.name].sign > 0
    if breach.value == 0 or not math.isfinite(breach.value):
        return breach.value if breach.value == 0 else None
    typed = float(f"{breach.value:.4g}")
    if typed >= breach.value if up else typed <= breach.value:
        return typed
    step = 10.0 ** (math.floor(math.log10(abs(breach.value))) - 3)
    rounded = (math.ceil if up else math.floor)(breach.value / step) * step
    typed = float(f"{rounded:.4g}")
    return typed if (typed >= breach.value if up else typed <= breach.value) else breach.value
