"""How much of the images' variance a reconstruction explains."""

import torch

from splitveil.errors import BadData
from splitveil.estimators.bootstrap import ratio_interval
from splitveil.measures.checks import Originals, OtherLabels, finite
from splitveil.measures.reconstruction import mse_per_image
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.shapes import PerImage, Targets


def r_squared(
    reconstruction: Targets,
    original: Originals,
    rng: Rng,
    *,
    labels: OtherLabels | None = None,
) -> Quantity:
    """R² = 1 - mse / variance: total without labels, within classes with them.

    The total form counts what the class alone tells; at a deep cut it may be high while images of
    one class cannot be told apart. Give both. The variance is that of these originals, unbiased;
    `leakage` measures against a floor fitted on other images instead. Not clipped: an attack
    worse than the mean is below 0.

    Args:
        reconstruction: any targets.
        original: what they stand for.
        rng: stream of the resamples (paired BCa bootstrap over images, 95 %).
        labels: of the originals. Images alone in their class are left out.

    Returns:
        Unit: share of the variance. Kind: measured.

    Raises:
        BadData: as `mse_per_image`, if labels do not fit, if fewer than two images are left, or if
            they are all equal.
    """
    errors = mse_per_image(reconstruction, original)
    floor = spread_per_image(original, labels=labels)
    kept = ~torch.isnan(floor)
    if int(kept.sum()) < 2 or not bool((floor[kept] > 0).any()):
        raise BadData(
            "R² needs at least two different images" + (" in a class" if labels is not None else "")
        )
    ratio = ratio_interval(errors[kept].numpy(), floor[kept].numpy(), rng)
    return Quantity(
        value=1 - ratio.value,
        low=1 - ratio.high,
        high=1 - ratio.low,
        unit="share",
        kind=Kind.MEASURED,
        n=int(kept.sum()),
        assumptions=(
            "images are independent draws",
            f"measured against the {'total' if labels is None else 'within-class'} variance",
            "holds for the attack tried; another may explain more",
        ),
    )


def spread_per_image(original: Targets, *, labels: OtherLabels | None = None) -> PerImage:
    """Each image's part in the unbiased variance per value, n / (n - 1) |x - mean|² / d.

    Args:
        original: any targets.
        labels: with them the mean and n are those of the image's class.

    Returns:
        Float64, in squared input units per value; NaN where an image is alone.

    Raises:
        BadData: if there are no images, values are not finite, or labels do not fit.
    """
    if not original.numel():
        raise BadData(f"nothing to measure: shape {tuple(original.shape)}")
    finite(original, "originals")
    flat = original.detach().flatten(1).double().cpu()
    groups = torch.zeros(len(flat), dtype=torch.int64) if labels is None else labels.cpu()
    if len(groups) != len(flat):
        raise BadData(f"{len(groups)} labels for {len(flat)} images: give one each")
    _, group, counts = groups.unique(return_inverse=True, return_counts=True)
    means = torch.zeros(len(counts), flat.shape[1], dtype=torch.float64)
    means.index_add_(0, group, flat).div_(counts[:, None])
    correction = torch.where(counts > 1, counts / (counts - 1), torch.nan).double()
    return (flat - means[group]).square().mean(1) * correction[group]
