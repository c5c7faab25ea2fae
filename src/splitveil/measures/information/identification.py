"""A certified lower end of what leaks, from how often an attacker names the right image."""

import math

from scipy import stats

from splitveil.errors import BadData, BadPlan
from splitveil.quantities import Direction, Kind, Quantity


def identification_floor(
    successes: int, trials: int, *, candidates: int, level: float = 0.95
) -> Quantity:
    """At least so much was told, since an attacker named the sent image so often (Fano).

        I(X; Z) >= log N - h_b(p) - (1 - p) log(N - 1)   for p > 1 / N, else 0

    with p the lower Clopper-Pearson end of successes / trials. Each trial hides one of N images
    drawn alike, in a place drawn evenly, and the attacker answers from Z and the N candidates. It
    can certify at most log N, and by any method at most about log of the trials.

    Args:
        successes: how often the attacker named the right candidate.
        trials: independent trials.
        candidates: number N of images to choose from in each.
        level: confidence of the one-sided bound.

    Returns:
        Unit: nat per image. Kind: theorem at confidence, lower.

    Example:
        >>> print(identification_floor(95, 100, candidates=100))
        3.81 [3.81, inf] nat per image

    Raises:
        BadData: if there are no trials or successes lie outside 0 .. trials.
        BadPlan: if there are fewer than two candidates or the level is not in (0, 1).
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise BadData(f"successes must lie in 0 .. trials, got {successes} of {trials}")
    if candidates < 2 or not 0 < level < 1:
        raise BadPlan(
            f"naming needs at least 2 candidates and a level in (0, 1), got {candidates}, {level}"
        )
    rate = 0.0
    if successes:
        rate = float(stats.beta.ppf(1 - level, successes, trials - successes + 1))
    nats = _fano(rate, candidates)
    return Quantity(
        value=nats,
        low=nats,
        high=math.inf,
        unit="nat per image",
        kind=Kind.CONFIDENCE,
        n=trials,
        direction=Direction.LOWER,
        level=level,
        assumptions=(
            f"each trial draws {candidates} candidates independently and hides one evenly",
            "the attacker saw nothing but what is sent and the candidates",
        ),
    )


def _fano(rate: float, candidates: int) -> float:
    """The least information that lets one of N be named with this chance, nats."""
    if rate <= 1 / candidates:
        return 0.0
    miss = 1 - rate
    unsure = -rate * math.log(rate) - (miss * math.log(miss) if miss > 0 else 0.0)
    return max(0.0, math.log(candidates) - unsure - miss * math.log(candidates - 1))
