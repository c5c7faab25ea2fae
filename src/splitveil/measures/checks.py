"""What every measure asks of its input, said once."""

import torch
from torch import Tensor

from splitveil.errors import BadData


def same_shape(reconstruction: Tensor, original: Tensor) -> None:
    """Refuse an empty batch or two of different shape.

    Raises:
        BadData: naming both shapes.
    """
    if reconstruction.shape != original.shape:
        raise BadData(
            f"reconstructions have shape {tuple(reconstruction.shape)}, originals "
            f"{tuple(original.shape)}: give one reconstruction for each original"
        )
    if not original.numel():
        raise BadData(f"nothing to measure: shape {tuple(original.shape)}")


def finite(values: Tensor, what: str) -> None:
    """Refuse NaN and infinity.

    Raises:
        BadData: naming `what` holds them and how many.
    """
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise BadData(f"{what} hold {bad} values that are NaN or infinite: nothing can be measured")
