"""Leakage against utility: how much a defence raises the attacker's error over a range of drops."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splitveil.errors import BadData
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng

_RESAMPLES = 2000
_LEVEL = 0.95
_ASSUMED = (
    "images are independent draws",
    "all were measured on the same images",
    "one training a strength: other seeds are not in the interval",
)


@dataclass(frozen=True)
class Curves:
    """`area` of each series and `ahead[a][b]`, the area of a less that of b."""

    area: Mapping[str, Quantity]
    ahead: Mapping[str, Mapping[str, Quantity]]


def curves(
    series: Mapping[str, Sequence[NDArray[np.float64]]],
    reference: NDArray[np.float64],
    drops: Sequence[float],
    rng: Rng,
) -> Curves:
    """Mean over the range of drops of ln(error / reference error), with paired intervals.

        A = 1 / (d_m - d_1) ∫ ln(mse(d) / mse_ref) dd

    by the trapezoidal rule over the drops; 0 is no defence, ln 2 = .69 an error doubled at every
    drop. Intervals are percentiles of a bootstrap over images (95 %), the same resamples for all
    series, so that differences are paired. Unit: log ratio. Kind: measured. They say nothing of
    other trainings; an error near the class mean's is a plateau that no area shows.

    Args:
        series: for each series, errors (n) of the best attack at each drop.
        reference: errors (n) without a defence on the same images.
        drops: accuracy given up, rising, in any unit.
        rng: stream of the resamples.

    Raises:
        BadData: if counts differ, drops do not rise, or errors are negative, not finite or all 0.
    """
    steps = np.asarray(drops, dtype=np.float64)
    if not len(steps) or (np.diff(steps) <= 0).any():
        raise BadData(f"drops must rise, got {list(drops)}")
    _check(reference, len(reference))
    for name, found in series.items():
        if len(found) != len(steps):
            raise BadData(f"{name} has {len(found)} points for {len(steps)} drops")
        for errors in found:
            _check(errors, len(reference))
    n = len(reference)
    shares = rng.numpy().multinomial(n, np.full(n, 1 / n), size=_RESAMPLES) / n
    weights = np.vstack([np.full(n, 1 / n), shares])
    base = np.log(weights @ reference)
    widths = _trapezoid(steps)
    drawn = {
        name: sum(
            width * (np.log(weights @ errors) - base)
            for width, errors in zip(widths, found, strict=True)
        )
        for name, found in series.items()
    }
    return Curves(
        area={name: _quantity(draws, n) for name, draws in drawn.items()},
        ahead={
            one: {two: _quantity(drawn[one] - drawn[two], n) for two in drawn if two != one}
            for one in drawn
        },
    )


def _trapezoid(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the rule, which sum to 1."""
    if len(steps) == 1:
        return np.ones(1)
    gaps = np.diff(steps) / 2
    weights = np.append(gaps, 0.0) + np.insert(gaps, 0, 0.0)
    return weights / weights.sum()


def _quantity(draws: NDArray[np.float64], n: int) -> Quantity:
    tail = (1 - _LEVEL) / 2
    low, high = (float(end) for end in np.quantile(draws[1:], (tail, 1 - tail)))
    value = float(draws[0])
    return Quantity(
        value=value,
        low=min(low, value),
        high=max(high, value),
        unit="log ratio",
        kind=Kind.MEASURED,
        n=n,
        assumptions=_ASSUMED,
    )


def _check(errors: NDArray[np.float64], n: int) -> None:
    if len(errors) != n or n < 2:
        raise BadData(f"errors of {len(errors)} and {n} images: give the same, at least two")
    total = float(errors.sum())
    if not math.isfinite(total) or (errors < 0).any() or total <= 0:
        raise BadData("errors must be finite, at least 0 and not all 0")
