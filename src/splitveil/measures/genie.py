"""A lower bound on every attacker's error on real images, from the noise alone."""

import math

import torch
from jaxtyping import Float64
from scipy import stats
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.measures.checks import OtherFeatures, OtherLabels, finite
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Features, Labels, PerImage, Targets

NO_GUARANTEE = (
    "no information-theoretic guarantee: the release adds no noise of known law, so a strong "
    "enough attacker may rebuild every image"
)


def genie_bound(
    x: Targets,
    features: OtherFeatures,
    release: Release,
    rng: Rng,
    *,
    labels: OtherLabels | None = None,
    galleries: int = 20,
    draws: int = 4,
    sends: int = 1,
    level: float = 0.95,
) -> Quantity:
    """Least mean squared error of any attacker whatever, at confidence `level`.

    Hand the attacker a gallery of N images that holds the hidden one, and it can only gain. Its
    best answer is then known, x̄ = sum w_i x_i with w_i ~ p(z | x_i), and so is its error:

        mmse(X | Z) >= B_N = E sum_i w_i |x_i - x̄|² / d

    B_N is estimated on disjoint galleries, each item hidden in turn `draws` times; the value is the
    one-sided lower end of its t interval over galleries, and the truth lies in [value, inf) at
    `level`. It rises with N towards the least error and is near 0 where the noise is small beside
    the distances between images. For a release that is followed by post-processing the bound of
    the noisy part is given, which holds for the whole.

    Args:
        x: targets drawn like the private ones; any number of values each.
        features: clean features of the same targets, before the release.
        release: what is done to them; fitted on other images.
        rng: stream of shuffles and noise.
        labels: give them where the attacker knows the label: the gallery is narrowed to the hidden
            image's class. That bound holds for every attacker; the one without labels does not
            hold for those that know them.
        galleries: how many disjoint ones to make, at least 20.
        draws: noise draws for each hidden item.
        sends: how many times each image is sent, each with fresh noise.
        level: confidence of the one-sided bound.

    Returns:
        Unit: mse per value. Kind: theorem at confidence, lower; or the theorem 0 for a release
        without noise of known law, with the words "no information-theoretic guarantee".

    Raises:
        BadData: if counts differ, values are not finite, or there are fewer than two images for
            each gallery.
        BadPlan: if there are fewer than 20 galleries, or no draws or sends.
    """
    if galleries < 20 or draws < 1 or sends < 1 or not 0 < level < 1:
        raise BadPlan(
            "the bound needs at least 20 galleries, 1 draw, 1 send and a level in (0, 1), got "
            f"{galleries}, {draws}, {sends} and {level}"
        )
    if len(x) != len(features) or (labels is not None and len(labels) != len(x)):
        raise BadData(f"{len(x)} images, {len(features)} features: give one of each, with labels")
    noisy = release.dominating()
    if not noisy.has_density:
        return Quantity.exact(
            0.0,
            unit="mse per value",
            kind=Kind.THEOREM,
            n=len(x),
            direction=Direction.LOWER,
            assumptions=(NO_GUARANTEE,),
        )
    size = len(x) // galleries
    if size < 2:
        raise BadData(
            f"{galleries} disjoint galleries need at least {2 * galleries} images, got {len(x)}"
        )
    finite(x, "images")
    finite(features, "features")
    order = torch.randperm(len(x), generator=rng.child("galleries").torch())
    errors = torch.stack(
        [
            _gallery_error(
                x[chosen].flatten(1).double().cpu(),
                features[chosen].cpu(),
                noisy,
                rng.child("gallery", index),
                None if labels is None else labels[chosen].cpu(),
                draws,
                sends,
            ).mean()
            for index, chosen in enumerate(order[: size * galleries].split(size))
        ]
    )
    mean, deviation = float(errors.mean()), float(errors.std())
    quantile = float(stats.t.ppf(level, galleries - 1))
    bound = max(0.0, mean - quantile * deviation / math.sqrt(galleries))
    return Quantity(
        value=bound,
        low=bound,
        high=math.inf,
        unit="mse per value",
        kind=Kind.CONFIDENCE,
        n=size * galleries,
        direction=Direction.LOWER,
        level=level,
        assumptions=(
            "private images are drawn like these, independently",
            "the noise is fresh and its law is the stated one",
            f"means of {galleries} disjoint galleries of {size} are close to normal",
            f"each image is sent {sends} time{'s' if sends > 1 else ''}",
            "the attacker may know the label" if labels is not None else "the label is not known",
        ),
    )


def _gallery_error(
    x: Float64[Tensor, "n d"],
    features: Features,
    release: Release,
    rng: Rng,
    labels: Labels | None,
    draws: int,
    sends: int,
) -> PerImage:
    """Posterior variance per value of each hidden item of one gallery, averaged over draws."""
    centred = x - x.mean(0)
    squares = centred.square().sum(1)
    total = torch.zeros(len(x), dtype=torch.float64)
    for draw in range(draws):
        scores = torch.zeros(len(x), len(x), dtype=torch.float64)
        for send in range(sends):
            sent = release(features, rng.child(draw, send).torch())
            scores += _pairwise(release, sent, features)
        if labels is not None:
            scores.masked_fill_(labels[:, None] != labels, -math.inf)
        weights = scores.softmax(1)
        spread = weights @ squares - (weights @ centred).square().sum(1)
        total += spread.clamp_min(0) / x.shape[1]
    return total / draws


def _pairwise(release: Release, sent: Features, features: Features) -> Float64[Tensor, "q n"]:
    """The release's pairwise log densities, which must exist.

    Raises:
        BadPlan: if they do not.
    """
    scores = release.pairwise_log_prob(sent, features)
    if scores is None:
        raise BadPlan(f"{release!r} says it has a density but gives none")
    return scores.double()
