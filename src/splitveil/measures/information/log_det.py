"""What features of a given covariance can tell through Gaussian noise, proved or estimated."""

import math

import torch
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.estimators.concentration import bernstein_upper
from splitveil.estimators.log_det import (
    ladder_spectrum,
    oas_spectrum,
    sample_spectrum,
    top_directions,
    trace_information,
)
from splitveil.estimators.marginals import LowRankGaussian, fit_low_rank
from splitveil.measures.checks import finite
from splitveil.measures.information.marginal_rate import (
    NO_ENVELOPE,
    Parts,
    ranks_within,
    rate_quantity,
)
from splitveil.quantities import Kind, Quantity
from splitveil.release.base import Release
from splitveil.release.gaussian import ClippedGaussian
from splitveil.rng import Rng
from splitveil.shapes import Features

_WIDE_SHARE = 0.01
_BIAS = {
    "plug_in": "biased low, badly where images are fewer than features: it understates the leak",
    "oas": "shrunk to lessen the low bias of the plug-in: it may lie on either side",
    "ladder": "above the truth at the true covariance; with that of a sample slightly low",
    "trace": "above the truth at the true scatter; far above where features are correlated",
}


def log_det_bound(
    features: Features,
    release: Release,
    rng: Rng,
    *,
    sends: int = 1,
    level: float = 0.95,
) -> Quantity:
    """I(X; Z) of clipped Gaussian noise from covariances, at confidence.

    For any m and C, by the largest entropy of a Gaussian and a tangent of log det,

        I(X; Z) <= ½ [log det(C / s²) + s² tr C⁻¹ - D + E (f - m)ᵀ C⁻¹ (f - m)]

    with f the clipped features: equal to ½ log det(I + S / s²) where m and C are their mean and
    covariance plus s² I. Half of the images give m and a low-rank C (directions from one part,
    variances from another, the rank picked on a third); on the other half, image by image, the
    smaller of this and of the same with the ball's own C counts, each with its share of a mixture
    paid for (log 100 and 0.01 nat). These are bounded by the capacity, so the upper end of their
    mean is an empirical Bernstein one. No noise is drawn. Looser than `variational_bound` for
    features in clusters.

    Args:
        features: clean features of images drawn like the private ones, at least 40.
        release: clipped Gaussian noise, fitted on other images; what follows it does not matter.
        rng: stream of the split.
        sends: how many times each image is sent; each send adds as much at most.
        level: confidence of the upper end.

    Returns:
        Unit: nat per image, total over its values. Kind: theorem at confidence, upper.

    Raises:
        BadPlan: if the release is not clipped Gaussian noise, or sends or level are out of range.
        BadData: if there are too few images, or features are not finite.
    """
    if sends < 1 or not 0 < level < 1:
        raise BadPlan(f"needs at least 1 send and a level in (0, 1), got {sends} and {level}")
    noisy = release.dominating()
    if not isinstance(noisy, ClippedGaussian):
        raise BadPlan(
            f"the log-determinant form needs clipped Gaussian noise, got {release!r}: use "
            "variational_bound for other noise"
        )
    if noisy.envelope(features.shape[1]) is None:
        raise BadPlan(f"{release!r}: {NO_ENVELOPE}")
    finite(features, "features")
    parts = Parts.of(len(features), rng)
    clipped = noisy.clip(features.detach().cpu())
    shape, scale, pick = (clipped[i].double() for i in (parts.shape, parts.scale, parts.pick))
    ranks = ranks_within(clipped.shape[1], len(shape))
    tried = [_noisy_covariance(r, noisy.sigma) for r in fit_low_rank(shape, scale, ranks, 0.0)]
    best = min(tried, key=lambda c: float(_terms(c, pick, noisy).mean()))
    ceiling = _power_capacity(noisy) - math.log(_WIDE_SHARE)
    ceiling += 1e-6 * (1 + ceiling)  # rounding of the clip
    floor = min(float(_terms(best, pick, noisy).min()), ceiling)
    values = _terms(best, clipped[parts.judge].double(), noisy).clamp_min(floor)
    upper = bernstein_upper(values, floor, ceiling, level=level)
    return rate_quantity(
        min(upper, noisy.capacity(clipped.shape[1])),
        n=len(values),
        sends=sends,
        level=level,
        notes=(f"reference: {best}; mean {float(values.mean()):.6g} nat",),
    )


def log_det_estimates(features: Features, noise: float, rng: Rng) -> dict[str, Quantity]:
    """½ log det(I + S / s²) of clean features by four routes of known bias; none is a bound.

    `plug_in` from the sample covariance, `oas` after shrinkage, `ladder` in the principal
    directions of one half with the scatter of the other, `trace` from the scatter alone. A spread
    between the first and the last says how little the sample knows. Projecting features to a few
    directions and forgetting the rest is not offered: it understates the leak without limit.

    Args:
        features: clean features, one row an image.
        noise: standard deviation s of a stated observation noise, in feature units.
        rng: stream of the split into halves.

    Returns:
        By name. Unit: nat per image, total. Kind: proxy.

    Raises:
        BadData: if there are fewer than four images, or values are not finite.
        BadInput: if the noise is not positive and finite.
    """
    if len(features) < 4:
        raise BadData(f"two halves of at least 2 images need 4, got {len(features)}")
    finite(features, "features")
    n, width = features.shape
    sample = sample_spectrum(features)
    order = torch.randperm(n, generator=rng.child("halves").torch())
    first, second = features[order[: n // 2]], features[order[n // 2 :]]
    rungs = ranks_within(width, len(first))
    directions = top_directions(first, max(rungs))
    ladder = min(ladder_spectrum(second, directions[:, :rank]).information(noise) for rank in rungs)
    values = {
        "plug_in": sample.information(noise),
        "oas": oas_spectrum(sample, n - 1).information(noise),
        "ladder": ladder,
        "trace": trace_information(sample.trace, width, noise),
    }
    return {
        name: Quantity(
            value=value,
            low=0.0,
            high=math.inf,
            unit="nat per image",
            kind=Kind.PROXY,
            n=n,
            assumptions=("the observation noise is the one stated", _BIAS[name]),
        )
        for name, value in values.items()
    }


def _noisy_covariance(clean: LowRankGaussian, sigma: float) -> LowRankGaussian:
    return LowRankGaussian(
        clean.mean, clean.directions, clean.variances + sigma**2, clean.rest + sigma**2
    )


def _terms(reference: LowRankGaussian, f: Tensor, release: ClippedGaussian) -> Tensor:
    """The smaller of the fitted and the wide reference's right side, for each row of f."""
    width = len(release.centre)
    everything = release.centre.new_zeros(width, 0).double().cpu()
    wide = LowRankGaussian(
        release.centre.double().cpu(),
        everything,
        everything[0],
        release.sigma**2 + release.radius**2 / width,
    )
    fitted = _right_side(reference, f, release.sigma) - math.log1p(-_WIDE_SHARE)
    return torch.minimum(fitted, _right_side(wide, f, release.sigma) - math.log(_WIDE_SHARE))


def _right_side(reference: LowRankGaussian, f: Tensor, sigma: float) -> Tensor:
    """½ [log det(C / s²) + s² tr C⁻¹ - D + (f - m)ᵀ C⁻¹ (f - m)] for each row of f."""
    width, rank = reference.directions.shape
    inverse = float((1 / reference.variances).sum()) + (width - rank) / reference.rest
    fixed = reference.log_det - 2 * width * math.log(sigma) + sigma**2 * inverse - width
    return 0.5 * (fixed + reference.squared(f))


def _power_capacity(release: ClippedGaussian) -> float:
    """What the wide reference's right side is on the edge of the ball, and below inside it."""
    width = len(release.centre)
    return trace_information(release.radius**2, width, release.sigma)
