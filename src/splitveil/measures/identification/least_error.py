"""Least error of any attacker from the chance of landing near."""

import math
from collections.abc import Sequence

import torch

from splitveil.errors import BadPlan
from splitveil.measures.galleries import no_bound
from splitveil.measures.identification.fano import fano_success
from splitveil.measures.identification.gaussian_dp import gaussian_dp_success
from splitveil.measures.identification.pair_ball import pair_ball
from splitveil.measures.information import capacity_bound
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Targets

_SHARES = (0.2, 0.35, 0.5, 0.6, 0.7)


def success_error(
    x: Targets,
    features: int,
    release: Release,
    rng: Rng,
    *,
    radii: Sequence[float] = (),
    sends: int = 1,
    level: float = 0.95,
) -> Quantity:
    """Least mean squared error of any attacker: mse >= max over r of r² (1 - p(r)).

    p(r) is the smaller of `gaussian_dp_success` and `fano_success` from the release's capacity,
    with kappa(r) from `pair_ball` at a level shared evenly among the radii. Needs neither a gallery
    nor a density of images, and holds against attackers who know every image but the one sent;
    it is 0 unless the noise is of the order of the clip.

    Args:
        x: targets drawn like the private ones.
        features: how many values are sent for each image.
        release: what is done to them.
        rng: stream of the pairing.
        radii: root mean squared distances tried; by default five shares of the deviation of a
            tenth of the images, which then make no pairs.
        sends: how many times each image is sent with fresh noise.
        level: confidence of the one-sided bound.

    Returns:
        Unit: mse per value. Kind: theorem at confidence, lower; or the theorem 0 for a release
        without noise of known law, in words.

    Raises:
        BadData: as `pair_ball`.
        BadPlan: as `pair_ball` and `capacity_bound`.
    """
    if not release.dominating().has_density:
        return no_bound("mse per value", len(x))
    tried = tuple(radii)
    if not tried:
        order = torch.randperm(len(x), generator=rng.child("scale").torch())
        scale = 2 + len(x) // 10
        tried, x = _shares_of_deviation(x[order[:scale]]), x[order[scale:]]
    if min(tried) <= 0:
        raise BadPlan(f"radii must be positive, got {tried}")
    each = 1 - (1 - level) / len(tried)
    information = capacity_bound(release, features, sends=sends)
    best = 0.0
    notes: tuple[str, ...] = ()
    for radius in tried:
        kappa = pair_ball(x, rng, radius=radius, level=each)
        chances = (
            gaussian_dp_success(release, kappa, sends=sends),
            fano_success(information, kappa),
        )
        nearest = min(chances, key=lambda chance: chance.value)
        error = radius**2 * (1 - nearest.value)
        if error >= best:
            best, notes = error, nearest.assumptions
    return Quantity(
        value=best,
        low=best,
        high=math.inf,
        unit="mse per value",
        kind=Kind.CONFIDENCE,
        n=len(x) // 2 * 2,
        direction=Direction.LOWER,
        level=level,
        assumptions=(*notes, f"best of {len(tried)} radii, their levels shared"),
    )


def _shares_of_deviation(x: Targets) -> tuple[float, ...]:
    """Shares of the root mean squared deviation from the mean image."""
    flat = x.flatten(1).double()
    deviation = math.sqrt(float((flat - flat.mean(0)).square().mean()))
    return tuple(share * deviation for share in _SHARES) if deviation > 0 else (1.0,)
