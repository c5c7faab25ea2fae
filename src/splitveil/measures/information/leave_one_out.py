"""Information that is sent, from both sides, with nothing fitted."""

import math
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float64
from scipy import stats
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.estimators.leave_one_out import leave_one_out
from splitveil.measures.checks import finite
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Features

_LEAST_GROUPS = 20
_PART: dict[str, Any] = {
    "kind": Kind.PROXY,
    "direction": Direction.ESTIMATE,
    "assumptions": ("of the noisy part alone: what follows it may tell less",),
}


def leave_one_out_bounds(
    features: Features,
    release: Release,
    rng: Rng,
    *,
    groups: int = 20,
    draws: int = 4,
    level: float = 0.95,
) -> tuple[Quantity, Quantity]:
    """I(X; Z) of one send between two averages over groups of k images.

        E log p(z_i | x_i) / [(1 / k) sum_j p(z_i | x_j)]              <= I(X; Z), at most log k
        E log p(z_i | x_i) / [(1 / (k - 1)) sum_(j != i) p(z_i | x_j)] >= I(X; Z)

    Tight while I is well below log k; beyond it the lower end stays at log k and the upper one
    grows without use, to infinity where no other image could have sent the same (as with dither):
    take `variational_bound` there.

    Args:
        features: clean features of images drawn like the private ones.
        release: what is done to them, fitted on other images.
        rng: stream of shuffles and noise.
        groups: how many disjoint groups to make, at least 20.
        draws: noise draws for each image.
        level: confidence of each end by itself.

    Returns:
        Lower and upper quantity. Unit: nat per image, total. Kind: theorem at confidence. For a
        release that is followed by post-processing the lower one is a proxy: it tells of the noisy
        part alone.

    Raises:
        BadPlan: if groups, draws or level are out of range, or the release has no density of its
            own.
        BadData: if there are fewer than two images a group, or values are not finite.
    """
    if groups < _LEAST_GROUPS or draws < 1 or not 0 < level < 1:
        raise BadPlan(
            f"needs at least {_LEAST_GROUPS} groups, 1 draw and a level in (0, 1), got {groups}, "
            f"{draws} and {level}"
        )
    size = len(features) // groups
    if size < 2:
        raise BadData(f"{groups} groups need at least {2 * groups} images, got {len(features)}")
    finite(features, "features")
    noisy = release.dominating()
    if not noisy.has_density:
        raise BadPlan(
            f"{release!r} adds no noise of known law, so nothing can be said between "
            "images: use payload_bound, or a release with noise"
        )
    order = torch.randperm(len(features), generator=rng.child("groups").torch())
    means = torch.stack(
        [
            _group(features[chosen].cpu(), noisy, rng.child("group", index), draws)
            for index, chosen in enumerate(order[: size * groups].split(size))
        ]
    )
    notes = (
        "images are independent draws",
        "the noise is fresh and its law is the stated one",
        f"means of {groups} disjoint groups of {size} are close to normal",
    )
    n = size * groups
    lower = _end(means[:, 0], Direction.LOWER, level, n, notes)
    upper = _end(means[:, 1], Direction.UPPER, level, n, notes)
    return lower if noisy is release else replace(lower, **_PART), upper


def _group(features: Features, release: Release, rng: Rng, draws: int) -> Float64[Tensor, " 2"]:
    terms = []
    for draw in range(draws):
        sent = release(features, rng.child(draw).torch())
        scores = release.pairwise_log_prob(sent, features)
        if scores is None:
            raise BadPlan(f"{release!r} says it has a density but gives none")
        terms.append(torch.stack(leave_one_out(scores.double())))
    return torch.cat(terms, 1).mean(1)


def _end(
    means: Tensor, direction: Direction, level: float, n: int, notes: tuple[str, ...]
) -> Quantity:
    """The one-sided t end over groups, as value and as the interval's finite end."""
    upper = direction is Direction.UPPER
    if bool(torch.isfinite(means).all()):
        step = float(stats.t.ppf(level, len(means) - 1)) * float(means.std())
        step /= math.sqrt(len(means))
        end = max(0.0, float(means.mean()) + (step if upper else -step))
    else:
        end = math.inf if upper else 0.0
    return Quantity(
        value=end,
        low=0.0 if upper else end,
        high=end if upper else math.inf,
        unit="nat per image",
        kind=Kind.CONFIDENCE,
        n=n,
        direction=direction,
        level=level,
        assumptions=notes,
    )
