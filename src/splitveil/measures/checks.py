"""What every measure asks of its input, said once."""

from typing import TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splitveil.errors import BadData

# Second arguments are checked against the first by hand, for a message that says what to do.
Originals: TypeAlias = Float[Tensor, "n2 *target2"]  # noqa: F821 - axis names
OtherFeatures: TypeAlias = Float[Tensor, "n2 f2"]
OtherLabels: TypeAlias = Int64[Tensor, " n3"]
OtherLogits: TypeAlias = Float[Tensor, "n2 k2"]
OtherPerImage: TypeAlias = Float[Tensor, " n2"]


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
