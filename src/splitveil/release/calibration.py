"""Checks and scales shared by every release that looks at auxiliary features."""

import numpy as np

from splitveil.errors import BadData
from splitveil.shapes import Features


def checked(z: Features) -> Features:
    """The same features, if there are any and all are finite.

    Raises:
        BadData: otherwise.
    """
    if not z.numel():
        raise BadData(f"cannot calibrate a release on features of shape {tuple(z.shape)}: none")
    if not all(bool(value.isfinite()) for value in z.aminmax()):  # NaN is passed on
        raise BadData("features hold NaN or infinity: check the model's weights and the images")
    return z.detach()


def middle_range(z: Features, share: float) -> tuple[float, float]:
    """The ends of the middle `share` of all values."""
    values = z.detach().cpu().float().numpy().ravel()
    low, high = np.quantile(values, ((1 - share) / 2, (1 + share) / 2))
    return float(low), float(high)
