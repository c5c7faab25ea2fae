"""How much noise it takes before the genie-gallery bound says something, and what that costs."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from splitveil.errors import BadPlan
from splitveil.measures.checks import OtherFeatures, OtherLabels
from splitveil.measures.genie import genie_bound
from splitveil.quantities import Quantity
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Targets


@dataclass(frozen=True, kw_only=True)
class NoiseNeeded:
    """The least noise found, what it was asked for, and what it was seen to give.

    `sigma` in the units of the release family; `error` the bound asked for, mse per value;
    `achieved` the bound at `sigma` on noise and galleries that the search never saw; `utility` what
    the network is still good for there, if asked. `monotone` is False where a larger noise gave a
    smaller bound during the search: the bisection is then not to be trusted.
    """

    sigma: float
    error: float
    achieved: Quantity
    utility: Quantity | None
    monotone: bool

    @property
    def holds(self) -> bool:
        """Whether the fresh bound reaches the error asked for."""
        return self.achieved.value >= self.error


def noise_needed(
    x: Targets,
    features: OtherFeatures,
    family: Callable[[float], Release],
    rng: Rng,
    *,
    error: float,
    low: float = 1e-3,
    high: float = 1e3,
    steps: int = 12,
    utility: Callable[[Release, Rng], Quantity] | None = None,
    labels: OtherLabels | None = None,
    galleries: int = 20,
    draws: int = 4,
    sends: int = 1,
    level: float = 0.95,
) -> NoiseNeeded:
    """Least sigma at which `genie_bound` reaches `error`, by bisection of its logarithm.

    Every step uses the same galleries and noise, so that the bound moves with sigma alone. The
    sigma found is then tried once with others; only that figure is reported. Because a search
    leans on its own noise, the fresh bound may fall just short: `holds` says.

    Args:
        x: targets drawn like the private ones.
        features: their clean features.
        family: the release for a sigma, such as
            `lambda s: GaussianNoise(sigma=s).fit(auxiliary_features)`.
        rng: stream of galleries and noise.
        error: the least error wanted of every attacker, mse per value.
        low: smallest sigma tried.
        high: largest sigma tried.
        steps: halvings; the answer's ratio to the truth is at most (high / low) ** 0.5 ** steps.
        utility: what the network is good for behind a release.
        labels: labels, where the attacker knows them.
        galleries: as in `genie_bound`.
        draws: as in `genie_bound`.
        sends: as in `genie_bound`.
        level: as in `genie_bound`.

    Returns:
        The noise, never smaller than the least that passed during the search.

    Raises:
        BadData: as `genie_bound`.
        BadPlan: if the range is not 0 < low < high, error is not positive, steps is below 1, or
            even `high` does not reach `error`.
    """
    if not (0 < low < high < math.inf and error > 0 and steps >= 1):
        raise BadPlan(
            "noise is sought between 0 < low < high for an error > 0 in at least 1 step, got "
            f"{low}, {high}, {error} and {steps}"
        )

    def bound(sigma: float, stream: Rng) -> Quantity:
        return genie_bound(
            x,
            features,
            family(sigma),
            stream,
            labels=labels,
            galleries=galleries,
            draws=draws,
            sends=sends,
            level=level,
        )

    search = rng.child("search")
    tried = {sigma: bound(sigma, search).value for sigma in (low, high)}
    if tried[high] < error:
        raise BadPlan(
            f"noise of {high:g} gives a bound of {tried[high]:.3g}, short of {error:.3g}: ask for "
            "less than the images' variance, raise `high`, or give more images"
        )
    below, above = (low, high) if tried[low] < error else (low, low)
    for _ in range(steps if below < above else 0):
        middle = math.sqrt(below * above)
        tried[middle] = bound(middle, search).value
        below, above = (middle, above) if tried[middle] < error else (below, middle)
    ordered = [tried[sigma] for sigma in sorted(tried)]
    return NoiseNeeded(
        sigma=above,
        error=error,
        achieved=bound(above, rng.child("fresh")),
        utility=None if utility is None else utility(family(above), rng.child("utility")),
        monotone=ordered == sorted(ordered),
    )
