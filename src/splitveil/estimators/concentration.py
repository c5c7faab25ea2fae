"""One-sided confidence ends for means of bounded values, without any law of large numbers."""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from splitveil.errors import BadData


def bernstein_upper(
    values: Float64[Tensor, " n"], low: float, high: float, *, level: float = 0.95
) -> float:
    """A number the mean of independent values in [low, high] exceeds with chance 1 - level at most.

        mean + sqrt(2 V log(2 / d) / n) + 7 (high - low) log(2 / d) / (3 (n - 1)),  d = 1 - level

    with V the unbiased sample variance. Holds for every n >= 2 and every law on the interval; it
    is wide where n is small beside (high - low) over the spread.

    References:
        Maurer and Pontil 2009, Empirical Bernstein bounds.

    Raises:
        BadData: if there are fewer than two values or one lies outside [low, high].
    """
    n = len(values)
    if n < 2:
        raise BadData(f"a confidence end needs at least 2 values, got {n}")
    if not low <= float(values.min()) <= float(values.max()) <= high:
        raise BadData(
            f"values run from {float(values.min()):.6g} to {float(values.max()):.6g}, outside "
            f"their range [{low:.6g}, {high:.6g}]"
        )
    log_term = math.log(2 / (1 - level))
    spread = math.sqrt(2 * float(torch.var(values)) * log_term / n)
    return min(high, float(values.mean()) + spread + 7 * (high - low) * log_term / (3 * (n - 1)))
