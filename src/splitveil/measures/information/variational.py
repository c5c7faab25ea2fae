"""An upper bound on what is sent, from a marginal that need not be right."""

import torch
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.estimators.marginals import (
    DiagonalGaussian,
    Marginal,
    fit_class_mixture,
    fit_low_rank,
)
from splitveil.measures.checks import OtherLabels, finite
from splitveil.measures.galleries import NO_GUARANTEE
from splitveil.measures.information.flow import FlowTraining, fit_flow
from splitveil.measures.information.marginal_rate import (
    Parts,
    checked_noisy,
    least_variance,
    ranks_within,
    rate_bound,
    rate_quantity,
)
from splitveil.measures.information.payload import payload_bound
from splitveil.quantities import Quantity
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Features


def variational_bound(
    features: Features,
    release: Release,
    rng: Rng,
    *,
    labels: OtherLabels | None = None,
    flow: FlowTraining | None = None,
    draws: int = 2,
    sends: int = 1,
    level: float = 0.95,
) -> Quantity:
    """I(X; Z) <= E log p(z | x) - log r(z) for any density r, which is fitted and judged apart.

    The excess is KL(p(z) || r), so a poor fit loosens the bound but never breaks it. Half of the
    images fit r to what is sent (diagonal Gaussian, low-rank Gaussians, and with labels mixtures
    of one Gaussian a class with a shared low-rank covariance; a flow if asked) and pick the best;
    the other half judges it once. r is mixed with a wide density, which bounds the log ratio, so
    the upper end is an empirical Bernstein one: no normality is assumed. It never exceeds the
    release's capacity.

    Args:
        features: clean features of images drawn like the private ones, at least 40.
        release: what is done to them, fitted on other images; it must confine features.
        rng: stream of the split and of noise.
        labels: classes of the images, for the mixtures; they do not enter the claim.
        flow: how to train a flow as well, for features on curved sets; from 2 features on.
        draws: noise draws for each image.
        sends: how many times each image is sent; each send adds as much at most.
        level: confidence of the upper end.

    Returns:
        Unit: nat per image, total over its values. Kind: theorem at confidence, upper. For a
        release without noise of known law the payload is all there is: a theorem, with the words
        "no information-theoretic guarantee".

    References:
        Barber and Agakov 2003; Poole et al. 2019.

    Raises:
        BadPlan: if draws, sends or level are out of range, or the features are not confined.
        BadData: if there are too few images, or features are not finite.
    """
    check_rate(features, labels, draws, sends, level)
    width = features.shape[1]
    if not release.dominating().has_density:
        return without_guarantee(release, width, sends)
    noisy, _ = checked_noisy(release, width)
    features = features.detach().cpu()
    parts = Parts.of(len(features), rng)
    sent = noisy(features[parts.scale], rng.child("fit").torch()).double()
    candidates = _candidates(features, sent, labels, parts)
    if flow is not None and width > 1:
        fitted = features[torch.cat([parts.shape, parts.scale])]
        candidates.append(fit_flow(fitted, noisy, least_variance(sent), flow, rng.child("flow")))
    upper, mean, name = rate_bound(
        features,
        None,
        release,
        parts,
        candidates,
        rng,
        draws=draws,
        level=level,
    )
    notes = (f"marginal: {name}; mean of the log ratio {mean:.6g} nat", *_sent(sends))
    upper = min(upper, noisy.capacity(width))
    return rate_quantity(upper, n=len(parts.judge), sends=sends, level=level, notes=notes)


def _candidates(
    features: Tensor, sent: Tensor, labels: Tensor | None, parts: Parts
) -> list[Marginal]:
    """Means and directions of clean features, variances of what other images sent."""
    shape, floor = features[parts.shape], least_variance(sent)
    ranks = ranks_within(sent.shape[1], len(shape))
    plain = [DiagonalGaussian.fit(sent, floor), *fit_low_rank(shape, sent, ranks, floor)]
    if labels is None:
        return plain
    mixtures = fit_class_mixture(
        shape,
        labels[parts.shape],
        sent,
        labels[parts.scale],
        classes=int(labels.max()) + 1,
        ranks=ranks,
        floor=floor,
    )
    return [*plain, *mixtures]


def _sent(sends: int) -> tuple[str, ...]:
    return (f"each image is sent {sends} times",) if sends > 1 else ()


def without_guarantee(release: Release, features: int, sends: int) -> Quantity:
    """The payload bound, which is all that holds of a release without noise of known law."""
    bound = payload_bound(release, features, sends=sends)
    return Quantity.exact(
        bound.value,
        unit=bound.unit,
        kind=bound.kind,
        direction=bound.direction,
        assumptions=(*bound.assumptions, NO_GUARANTEE),
    )


def check_rate(
    features: Features, labels: OtherLabels | None, draws: int, sends: int, level: float
) -> None:
    """Refuse settings and data no rate can be had from.

    Raises:
        BadPlan: if draws, sends or level are out of range.
        BadData: if features are not finite or labels do not fit.
    """
    if draws < 1 or sends < 1 or not 0 < level < 1:
        raise BadPlan(
            "a rate needs at least 1 draw, 1 send and a level in (0, 1), got "
            f"{draws}, {sends} and {level}"
        )
    if labels is not None and len(labels) != len(features):
        raise BadData(f"{len(features)} features, {len(labels)} labels: give one label an image")
    if labels is not None and len(labels) and int(labels.min()) < 0:
        raise BadData(f"labels count from 0, got {int(labels.min())}")
    finite(features, "features")
