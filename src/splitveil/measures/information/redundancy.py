"""What is sent about an image beyond its label."""

from torch import Tensor

from splitveil.estimators.marginals import Marginal, fit_class_mixture, fit_low_rank
from splitveil.measures.checks import OtherLabels
from splitveil.measures.information.marginal_rate import (
    Parts,
    checked_noisy,
    least_variance,
    ranks_within,
    rate_bound,
    rate_quantity,
)
from splitveil.measures.information.variational import check_rate, without_guarantee
from splitveil.quantities import Quantity
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Features


def redundancy_bound(
    features: Features,
    labels: OtherLabels,
    release: Release,
    rng: Rng,
    *,
    draws: int = 2,
    sends: int = 1,
    level: float = 0.95,
) -> Quantity:
    """I(X; Z | Y) <= E log p(z | x) - log r(z | y) for any densities r, one a class.

    What a classifier's cloud half has no use for: the information about the image that does not
    help to tell its class. r(z | y) is a Gaussian about the class mean, with a low-rank covariance
    that all classes share, or a single Gaussian for all; it is fitted, picked and judged as in
    `variational_bound`.

    Args:
        features: clean features of images drawn like the private ones, at least 40.
        labels: their classes, counted from 0.
        release: what is done to the features, fitted on other images; it must confine them.
        rng: stream of the split and of noise.
        draws: noise draws for each image.
        sends: how many times each image is sent.
        level: confidence of the upper end.

    Returns:
        Unit: nat per image, total over its values. Kind: theorem at confidence, upper; for a
        release without noise of known law the payload bound, a theorem, with the words "no
        information-theoretic guarantee".

    Raises:
        BadPlan: as `variational_bound`.
        BadData: as `variational_bound`, or if labels do not fit the features.
    """
    check_rate(features, labels, draws, sends, level)
    width = features.shape[1]
    if not release.dominating().has_density:
        return without_guarantee(release, width, sends)
    noisy, _ = checked_noisy(release, width)
    features, labels = features.detach().cpu(), labels.cpu()
    parts = Parts.of(len(features), rng)
    sent = noisy(features[parts.scale], rng.child("fit").torch()).double()
    upper, mean, name = rate_bound(
        features,
        labels,
        release,
        parts,
        _candidates(features, sent, labels, parts),
        rng,
        draws=draws,
        level=level,
    )
    notes = (
        f"conditional marginal: {name}; mean of the log ratio {mean:.6g} nat",
        "classes are those of the labels given",
    )
    upper = min(upper, noisy.capacity(width))
    return rate_quantity(upper, n=len(parts.judge), sends=sends, level=level, notes=notes)


def _candidates(features: Tensor, sent: Tensor, labels: Tensor, parts: Parts) -> list[Marginal]:
    """Means and directions of clean features, variances of what other images sent."""
    shape, floor = features[parts.shape], least_variance(sent)
    ranks = ranks_within(sent.shape[1], len(shape))
    mixtures = fit_class_mixture(
        shape,
        labels[parts.shape],
        sent,
        labels[parts.scale],
        classes=int(labels.max()) + 1,
        ranks=ranks,
        floor=floor,
    )
    return [*(m.classes for m in mixtures), *fit_low_rank(shape, sent, ranks, floor)]
