"""The mean log ratio of what is sent to a fitted marginal, with an end that needs no normality."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.estimators.concentration import bernstein_upper
from splitveil.estimators.marginals import Marginal
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.release.base import Envelope, Release
from splitveil.rng import Rng
from splitveil.shapes import Features

NO_ENVELOPE = (
    "log ratios are bounded only where features are confined: use a release that clips, such as "
    "gaussian or dither"
)
_WIDE_SHARE = 0.01
_BLOCK_VALUES = 1 << 22
_LEAST_IMAGES = 40
_RANKS = (0, 4, 16, 64, 256)


@dataclass(frozen=True, eq=False)
class Parts:
    """Disjoint images: three to fit a marginal on, and `judge` to evaluate it on once."""

    shape: Tensor
    scale: Tensor
    pick: Tensor
    judge: Tensor

    @staticmethod
    def of(n: int, rng: Rng) -> "Parts":
        """A random split of indices: half to judge, the other half in parts of 40, 40, 20 %.

        Raises:
            BadData: if there are too few images.
        """
        if n < _LEAST_IMAGES:
            raise BadData(
                f"fitting a marginal and judging it apart needs at least {_LEAST_IMAGES} images, "
                f"got {n}"
            )
        order = torch.randperm(n, generator=rng.child("split").torch())
        half, fifth = n // 2, n // 5
        return Parts(order[:fifth], order[fifth : 2 * fifth], order[2 * fifth : half], order[half:])


def ranks_within(features: int, shape_images: int) -> list[int]:
    """Numbers of free directions worth trying: a ladder, and all where images allow it."""
    most = min(features, shape_images - 1)
    ladder = [r for r in _RANKS if r < most]
    return [*ladder, features] if features <= shape_images // 4 else [*ladder, most]


def least_variance(sent: Tensor) -> float:
    """A floor for fitted variances, which only keeps them positive."""
    return max(1e-12, 1e-12 * float(sent.var(0).mean()))


def checked_noisy(release: Release, features: int) -> tuple[Release, Envelope]:
    """The part of a release that has a density, and what dominates it.

    Raises:
        BadPlan: if the features are not confined.
    """
    noisy = release.dominating()
    envelope = noisy.envelope(features)
    if envelope is None:
        raise BadPlan(f"{release!r}: {NO_ENVELOPE}")
    return noisy, envelope


def rate_bound(
    features: Features,
    labels: Tensor | None,
    release: Release,
    parts: Parts,
    candidates: Sequence[Marginal],
    rng: Rng,
    *,
    draws: int,
    level: float,
) -> tuple[float, float, str]:
    """Upper end and mean of E log p(z | x) - log r(z), and the marginal picked for r.

    r = 0.99 fitted + 0.01 envelope, so the log ratio is at most the envelope's ceiling + log 100.
    From below it is cut off at the least value seen on the picking part, which can only raise its
    mean. One image's draws are averaged, and images are judged by `bernstein_upper`.
    """
    noisy, envelope = checked_noisy(release, features.shape[1])
    ceiling = envelope.ceiling - math.log(_WIDE_SHARE)

    def ratios(candidate: Marginal, chosen: Tensor, stream: Rng) -> Float64[Tensor, "n draws"]:
        return torch.stack(
            [
                _log_ratio(
                    features[chosen],
                    None if labels is None else labels[chosen],
                    noisy,
                    envelope,
                    candidate,
                    stream.child(draw).torch(),
                )
                for draw in range(draws)
            ],
            1,
        )

    tried = [(c, ratios(c, parts.pick, rng.child("pick"))) for c in candidates]
    best, seen = min(tried, key=lambda pair: float(pair[1].mean()))
    floor = min(float(seen.min()), ceiling)
    judged = ratios(best, parts.judge, rng.child("judge"))
    slack = 1e-9 * (1 + abs(ceiling))
    values = judged.clamp(floor, ceiling + slack).mean(1)
    if float(judged.max()) > ceiling + 1e-4 * (1 + abs(ceiling)):
        raise BadPlan(f"{release!r} exceeds its own envelope: its density or clip is wrong")
    upper = bernstein_upper(values, floor, ceiling + slack, level=level)
    return upper, float(values.mean()), str(best)


def _log_ratio(
    features: Tensor,
    labels: Tensor | None,
    release: Release,
    envelope: Envelope,
    candidate: Marginal,
    generator: torch.Generator,
) -> Float64[Tensor, " n"]:
    found = []
    rows = max(1, _BLOCK_VALUES // features.shape[1])
    for start in range(0, len(features), rows):
        clean = features[start : start + rows]
        sent = release(clean, generator)
        own = release.log_prob(sent, clean)
        if own is None:
            raise BadPlan(f"{release!r} says it has a density but gives none")
        given = None if labels is None else labels[start : start + rows]
        fitted = candidate.log_density(sent.double(), given) + math.log1p(-_WIDE_SHARE)
        wide = envelope.log_density(sent) + math.log(_WIDE_SHARE)
        found.append(own.double() - torch.logaddexp(fitted, wide))
    return torch.cat(found)


def rate_quantity(
    upper: float, *, n: int, sends: int, level: float, notes: tuple[str, ...]
) -> Quantity:
    """An upper bound on an information of `sends` sends, each of which tells `upper` at most."""
    value = sends * max(0.0, upper)
    return Quantity(
        value=value,
        low=0.0,
        high=value,
        unit="nat per image",
        kind=Kind.CONFIDENCE,
        n=n,
        direction=Direction.UPPER,
        level=level,
        assumptions=(
            "images are independent draws",
            "the noise is fresh and its law is the stated one",
            *notes,
        ),
    )
