"""The images that come off worst, which a mean hides."""

import math
from typing import Literal

import torch

from splitveil.errors import BadData
from splitveil.estimators.order_statistics import quantile_interval
from splitveil.quantities import Kind, Quantity
from splitveil.shapes import PerImage


def tail_of(
    values: PerImage,
    *,
    unit: str,
    worst: Literal["smallest", "largest"],
    share: float = 0.05,
    support: tuple[float, float] = (-math.inf, math.inf),
) -> Quantity:
    """The number that `share` of the images reach or pass at the bad end: a quantile.

    For errors the bad end is "smallest", for PSNR and similarity "largest". The interval is made of
    order statistics (binomial, 95 %) and assumes nothing of the values' law; with too few images,
    fewer than 36 for 10 % and 368 for 1 %, its outer end is that of `support`. Kind: measured.

    Args:
        values: one number an image; infinite ones count as such.
        unit: of the numbers.
        worst: which end is bad for the person in the picture.
        share: of images beyond the number, .05 and .01 by custom.
        support: the range the numbers can take.

    Example:
        >>> import torch
        >>> print(tail_of(torch.arange(1000.0), unit="dB", worst="largest"))
        949 [935, 963] dB

    Raises:
        BadData: if there are no values, one is NaN, or `share` is not in (0, 1).
    """
    if not 0 < share < 1:
        raise BadData(f"the tail's share must lie in (0, 1), got {share}")
    if not len(values):
        raise BadData("no images to take a quantile of")
    if torch.isnan(values).any():
        raise BadData("per-image values hold NaN: they have no quantile")
    data = values.detach().to(torch.float64).cpu().numpy()
    interval = quantile_interval(data, share if worst == "smallest" else 1 - share, support=support)
    return Quantity(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        unit=unit,
        kind=Kind.MEASURED,
        n=len(data),
        assumptions=(
            "images are independent draws",
            f"passed by the {worst} {share:.3g} of images",
        ),
    )
