"""A certified lower end of a discrete entropy, the only one that data alone can give."""

import math

import torch
from jaxtyping import Int64
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.quantities import Direction, Kind, Quantity


def entropy_floor(symbols: Int64[Tensor, " n"], *, level: float = 0.95) -> Quantity:
    """H(Q) of a discrete variable at least, from n independent draws and nothing else.

        H(Q) >= H(shares) - log n sqrt(2 log(1 / d) / n),  d = 1 - level

    The entropy of the sample's shares is below H on average (Jensen), and one draw moves it by at
    most 2 log n / n, so it exceeds its mean by the second term with chance d at most (McDiarmid).
    It never certifies more than log n nats, whatever the variable: number the cells of a few
    quantised principal components, not whole images. Use it as the entropy of `dithered_bound` for
    that gridded variable; no density is assumed.

    Args:
        symbols: one number an image, naming its cell.
        level: confidence of the lower end.

    Returns:
        Unit: nat per image. Kind: theorem at confidence, lower.

    Example:
        >>> import torch
        >>> print(entropy_floor(torch.arange(80_000) % 8))
        1.98 [1.98, inf] nat per image

    Raises:
        BadData: if there are no symbols.
        BadPlan: if the level is not in (0, 1).
    """
    n = len(symbols)
    if not n:
        raise BadData("an entropy needs at least 1 symbol, got none")
    if not 0 < level < 1:
        raise BadPlan(f"the level must lie in (0, 1), got {level}")
    counts = torch.unique(symbols.cpu(), return_counts=True)[1].double()
    plug_in = -float(torch.xlogy(counts / n, counts / n).sum())
    margin = math.log(n) * math.sqrt(2 * math.log(1 / (1 - level)) / n)
    floor = max(0.0, plug_in - margin)
    return Quantity(
        value=floor,
        low=floor,
        high=math.inf,
        unit="nat per image",
        kind=Kind.CONFIDENCE,
        n=n,
        direction=Direction.LOWER,
        level=level,
        assumptions=("images are independent draws", "cells were chosen without these images"),
    )
