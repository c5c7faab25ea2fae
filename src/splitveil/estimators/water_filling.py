"""Reverse water-filling: the least total error that a budget of information allows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from splitveil.errors import BadInput


@dataclass(frozen=True)
class WaterFilling:
    """The water level, and each block's least error per value and share of the budget in nats.

    `errors` are min(N_j, level) and `rates` (k_j / 2) log(N_j / level) where positive, in the order
    the blocks were given; `rates` sum to the budget unless every power is 0.
    """

    level: float
    errors: tuple[float, ...]
    rates: tuple[float, ...]


def water_filling(
    powers: Sequence[float], sizes: Sequence[float], information: float
) -> WaterFilling:
    """Minimise sum k_j N_j exp(-2 R_j / k_j) over rates R_j >= 0 that sum to the budget.

        sum_j k_j min(N_j, w)  with  sum_j (k_j / 2) max(0, log(N_j / w)) = information

    The level w is found in closed form: with powers in falling order, log w = (sum_(j <= i) k_j log
    N_j - 2 information) / sum_(j <= i) k_j for the first i at which it reaches log N_(i+1). It does
    not rise with the budget.

    Args:
        powers: entropy powers N_j >= 0 of the blocks, squared input units per value.
        sizes: weights k_j > 0, values in each block.
        information: the budget in nats; may be infinite.

    Raises:
        BadInput: if a power, size or the budget is outside its range, or counts differ.
    """
    if len(powers) != len(sizes) or not len(powers):
        raise BadInput(f"{len(powers)} powers, {len(sizes)} sizes: give one of each a block")
    if not all(0 <= p < math.inf for p in powers) or not all(0 < k < math.inf for k in sizes):
        raise BadInput("powers must be finite and at least 0, sizes positive and finite")
    if not information >= 0:
        raise BadInput(f"a budget of information is at least 0 nats, got {information}")
    n, k = np.array(powers, dtype=np.float64), np.array(sizes, dtype=np.float64)
    log_level = _log_level(n, k, information)
    with np.errstate(divide="ignore", invalid="ignore"):
        over = np.where(n > 0, np.log(n) - log_level, 0.0)
    rates = np.where(over > 0, k / 2 * over, 0.0)
    errors = np.minimum(n, math.exp(log_level))
    return WaterFilling(math.exp(log_level), tuple(errors.tolist()), tuple(rates.tolist()))


def _log_level(powers: np.ndarray, sizes: np.ndarray, information: float) -> float:
    order = np.argsort(-powers, kind="stable")
    kept = order[powers[order] > 0]
    if not len(kept) or information == math.inf:
        return -math.inf
    logs, weights = np.log(powers[kept]), sizes[kept]
    levels = (np.cumsum(weights * logs) - 2 * information) / np.cumsum(weights)
    following = np.append(logs[1:], -math.inf)
    return float(levels[np.argmax(levels >= following)])
