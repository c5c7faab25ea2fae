"""The rate of a fitted mixture on rows it has not seen: from above, whatever the mixture."""

import math

import torch
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.estimators.centroids import ClassClusters
from splitveil.estimators.concentration import bernstein_upper
from splitveil.estimators.rates.soft import all_scores, component_scores
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.shapes import Features, Labels

_WIDE_SHARE = 0.01
_BLOCK_VALUES = 1 << 22


@torch.no_grad()
def held_out_rate(
    z: Features,
    clusters: ClassClusters,
    *,
    sigma: float,
    radius: float,
    centre: Tensor | None = None,
    y: Labels | None = None,
    level: float = 0.95,
) -> Quantity:
    """Information through N(0, s² I), at most: I(X; Z), or I(X; Z | Y) where labels are given.

    E[log p(Z | X) - log q(Z)] for q = 0.99 mixture + 0.01 N(centre, (B² / f + s²) I), noise
    averaged in the exponent as in `class_rate`. Each row's value lies between 0 and
    (f / 2) log(1 + B² / (f s²)) + log 100, so the upper end is an empirical Bernstein one and no
    normality is assumed. A poor mixture loosens the number and never breaks it.

    Args:
        z: clean features as they go into the noise, clipped if the release clips, of independent
            images the mixture was not fitted on.
        clusters: any mixture; without labels its classes count alike.
        sigma: deviation s of the noise, fresh for every image.
        radius: B, which no |z - centre| exceeds, on any image.
        centre: of the ball, (f); 0 if None.
        y: classes of the rows, for the information beyond the label.
        level: confidence.

    Returns:
        Unit: nat per value of the features. Kind: theorem at confidence, upper; its value is the
        upper end.

    Raises:
        BadPlan: if sigma or radius is not positive and finite.
        BadData: if a row lies outside the ball, or there are fewer than two.
    """
    if not (0 < sigma < math.inf and 0 < radius < math.inf):
        raise BadPlan(
            f"a rate needs noise and confined features: sigma {sigma}, radius {radius}; use a "
            "release that clips and adds Gaussian noise"
        )
    rows = z.detach().double()
    middle = rows.new_zeros(rows.shape[1]) if centre is None else centre.to(rows)
    squared = (rows - middle).square().sum(1)
    if not float(squared.max()) <= (radius * (1 + 1e-6)) ** 2:
        raise BadData(
            f"features reach {float(squared.max().sqrt()):.6g} from the centre, beyond their "
            f"radius {radius:.6g}: clip them as the release does"
        )
    f = rows.shape[1]
    mixture = clusters.to(rows)
    size = max(1, _BLOCK_VALUES // (f * mixture.shares.numel()))
    fitted = torch.cat(
        [
            _scores(block, mixture, None if y is None else y[i * size : (i + 1) * size], sigma)
            for i, block in enumerate(rows.split(size))
        ]
    )
    wide = radius**2 / f
    # at most (f / 2) log(1 + B² / f s²), reached on the sphere
    outer = -0.5 * f * math.log1p(wide / sigma**2) - 0.5 * (squared - f * wide) / (wide + sigma**2)
    scores = torch.logaddexp(fitted + math.log1p(-_WIDE_SHARE), outer + math.log(_WIDE_SHARE))
    ceiling = 0.5 * f * math.log1p(wide / sigma**2) - math.log(_WIDE_SHARE)
    slack = 1e-6 * (1 + ceiling)
    values = (-scores).clamp(0.0, ceiling + slack)
    upper = bernstein_upper(values, 0.0, ceiling + slack, level=level) / f
    return Quantity(
        value=upper,
        low=0.0,
        high=upper,
        unit="nat per value",
        kind=Kind.CONFIDENCE,
        n=len(rows),
        direction=Direction.UPPER,
        level=level,
        assumptions=(
            "images are independent draws, others than those the mixture was fitted on",
            f"Gaussian noise of deviation {sigma:.6g}, fresh for every image",
            f"mean {float(values.mean()) / f:.6g} nat per value",
            *(() if y is None else ("beyond what the label tells",)),
        ),
    )


def _scores(z: Tensor, clusters: ClassClusters, y: Tensor | None, sigma: float) -> Tensor:
    """Log of the mixture over p(z | z), noise averaged in the exponent."""
    if y is not None:
        return component_scores(z, y, clusters, sigma=sigma).logsumexp(1)
    present = (clusters.shares.sum(1) > 0).sum()
    return all_scores(z, clusters, sigma=sigma).flatten(1).logsumexp(1) - present.to(z).log()
