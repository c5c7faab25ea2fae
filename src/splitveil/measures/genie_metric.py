"""The genie-gallery bound for any distance between images."""

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from splitveil.errors import BadData
from splitveil.measures.checks import OtherFeatures, OtherLabels, finite
from splitveil.measures.galleries import (
    check_galleries,
    check_paired,
    gallery_scores,
    no_bound,
    one_sided,
    sent_copies,
)
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Targets

Distances: TypeAlias = Callable[[Tensor], Tensor]


def genie_metric_bound(
    x: Targets,
    features: OtherFeatures,
    release: Release,
    distances: Distances,
    rng: Rng,
    *,
    unit: str,
    labels: OtherLabels | None = None,
    galleries: int = 20,
    draws: int = 4,
    sends: int = 1,
    level: float = 0.95,
) -> Quantity:
    """Least mean distance from the original to any attacker's answer, at confidence `level`.

    As in `genie_bound` the attacker is handed the gallery. Whatever it answers, an item of the
    gallery costs at most twice as much (triangle inequality), so

        E distance(X, answer) >= ½ E min_j sum_i w_i distance(x_i, x_j).

    Works for any metric, such as a distance between faces; half of the truth at best, and near 0
    where the noise is small. For squared errors `genie_bound` is sharper.

    Args:
        x: targets drawn like the private ones.
        features: clean features of the same targets.
        release: what is done to them; fitted on other images.
        distances: from n targets to their (n, n) distances; must obey the triangle inequality.
        rng: stream of shuffles and noise.
        unit: of the distance.
        labels: give them where the attacker knows the label.
        galleries: how many disjoint ones to make, at least 20; memory grows with the square of
            their size.
        draws: noise draws for each hidden item.
        sends: how many times each image is sent.
        level: confidence of the one-sided bound.

    Returns:
        Kind: theorem at confidence, lower; or the theorem 0 for a release without noise of known
        law, in words.

    Raises:
        BadData: as `genie_bound`, or if distances are not n x n, negative or not finite.
        BadPlan: as `genie_bound`.
    """
    check_galleries(galleries, draws, sends, level)
    check_paired(x, features, labels)
    noisy = release.dominating()
    if not noisy.has_density:
        return no_bound(unit, len(x))
    size = len(x) // galleries
    if size < 2:
        raise BadData(
            f"{galleries} disjoint galleries need at least {2 * galleries} images, got {len(x)}"
        )
    finite(x, "images")
    finite(features, "features")
    order = torch.randperm(len(x), generator=rng.child("galleries").torch())
    means = []
    for index, chosen in enumerate(order[: size * galleries].split(size)):
        apart = _checked(distances(x[chosen]), size)
        sent = sent_copies(noisy, features[chosen].cpu(), rng.child("gallery", index), draws, sends)
        scores = gallery_scores(noisy, sent, features[chosen].cpu())
        if labels is not None:
            known = labels[chosen].cpu()
            scores.masked_fill_(known.repeat(draws)[:, None] != known, -math.inf)
        means.append((scores.softmax(1) @ apart).amin(1).mean() / 2)
    bound = max(0.0, one_sided(torch.stack(means), level, Direction.LOWER))
    return Quantity(
        value=bound,
        low=bound,
        high=math.inf,
        unit=unit,
        kind=Kind.CONFIDENCE,
        n=size * galleries,
        direction=Direction.LOWER,
        level=level,
        assumptions=(
            "the distance obeys the triangle inequality",
            f"means of {galleries} disjoint galleries of {size} are close to normal",
            "private images are drawn like these, independently",
            "the noise is fresh and its law is the stated one",
            f"each image is sent {sends} time{'s' if sends > 1 else ''}",
            "the attacker may know the label" if labels is not None else "the label is not known",
        ),
    )


def _checked(apart: Tensor, size: int) -> Tensor:
    """Distances in float64, if they can be any.

    Raises:
        BadData: otherwise.
    """
    if apart.shape != (size, size) or not bool((apart >= 0).all()):
        raise BadData(
            f"distances of {size} targets must be a ({size}, {size}) matrix of values >= 0, got "
            f"shape {tuple(apart.shape)}"
        )
    finite(apart, "distances")
    return apart.double().cpu()
