"""Numbers that several cuts enter together, with intervals for other images and other seeds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from splitveil.errors import BadData
from splitveil.estimators.bootstrap import resampled_means
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng

RESAMPLES = 4000
_WILDEST = 50.0


def error_draws(
    errors: NDArray[np.float64], rng: Rng, *, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """Mean errors of all cuts, drawn together: (resamples + 1, cuts), the measured ones first.

    errors[c, a, i] is the error of image i at cut c under attack seed a. Images are resampled
    jointly for all cuts and seeds; to the logarithms of the means comes a shift from Student's
    multivariate law with the seeds' own covariance. For the ratio of two cuts this is the
    studentised interval of `hierarchical_interval`, for one model.

    Raises:
        BadData: if there are fewer than two images, or a mean is not positive and finite.
    """
    if errors.ndim != 3 or errors.shape[2] < 2:
        raise BadData(f"errors need cuts, seeds and two images or more, got {errors.shape}")
    by_seed = errors.mean(2)
    if not (np.isfinite(errors).all() and (by_seed > 0).all()):
        raise BadData("mean errors must be positive and finite")
    over_seeds = errors.mean(1)
    drawn = np.stack(resampled_means(tuple(over_seeds), rng.child("images"), resamples), 1)
    logs = np.log(np.clip(drawn, np.finfo(np.float64).tiny, None))
    logs += _shifts(np.log(by_seed).T, rng.child("seeds"), resamples)
    first = np.log(over_seeds.mean(1))[None]
    return _from_logs(first, logs)


def jackknife_draws(
    values: Sequence[float],
    replicates: Sequence[Sequence[float | None]],
    rng: Rng,
    *,
    resamples: int = RESAMPLES,
) -> NDArray[np.float64]:
    """Positive numbers of all cuts, drawn together: (resamples + 1, cuts), the given ones first.

    `replicates` are each cut's numbers without each group of images in turn. Logarithms move by
    Student's multivariate law with the delete-group jackknife's covariance.

    Raises:
        BadData: if a number or a replicate is missing or not positive.
    """
    table = np.array([[np.nan if r is None else r for r in row] for row in replicates]).T
    whole = np.array(values, dtype=np.float64)
    if len(table) < 2 or not ((table > 0).all() and (whole > 0).all()):
        raise BadData("a jackknife of several cuts needs positive numbers from two groups or more")
    groups = len(table)
    logs = np.log(whole) + _shifts(np.log(table), rng, resamples) * (groups - 1)
    return _from_logs(np.log(whole)[None], logs)


def _from_logs(first: NDArray[np.float64], logs: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.exp(np.concatenate([first, logs]))
    return found


def _shifts(units: NDArray[np.float64], rng: Rng, resamples: int) -> NDArray[np.float64]:
    """Student-distributed (resamples, cuts) with the covariance of the mean of units (u, cuts).

    A delete-group jackknife's covariance is that times (units - 1)².
    """
    count = len(units)
    if count < 2:
        return np.zeros((resamples, units.shape[1]))
    away = units - units.mean(0)
    weights = student_weights(count, rng, resamples)
    shifts: NDArray[np.float64] = weights @ away / np.sqrt(count * (count - 1))
    return shifts


def student_weights(count: int, rng: Rng, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Normal (resamples, count) over a common chi: with Student's tails of count - 1 degrees.

    w (units - mean) / √(count (count - 1)) is a shift of the mean of units, drawn from Student's
    law with their own error. The same weights for several numbers of the same units keep their
    covariance.

    Raises:
        BadData: if there are fewer than two units.
    """
    if count < 2:
        raise BadData(f"the deviation between units needs two or more, got {count}")
    generator = rng.numpy()
    weights = generator.standard_normal((resamples, count))
    tails = np.sqrt((count - 1) / generator.chisquare(count - 1, resamples))
    # far beyond the quantiles in use, so that no draw of two seeds overflows
    weights *= np.minimum(tails, _WILDEST)[:, None]
    return weights


def quantity_of(
    draws: NDArray[np.float64], *, unit: str, n: int, words: tuple[str, ...] = ()
) -> Quantity:
    """The first number with the middle 95 % of the rest as its interval.

    Raises:
        BadData: if a draw is not finite.
    """
    if not np.isfinite(draws).all():
        raise BadData("the number does not exist for every resample")
    value = float(draws[0])
    low, high = np.quantile(draws[1:], [0.025, 0.975])
    return Quantity(
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        unit=unit,
        kind=Kind.MEASURED,
        n=n,
        assumptions=words,
    )


def step_share(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of ln(last / first) that lies in the largest step, one a row of (m, cuts)."""
    logs = np.log(errors)
    share: NDArray[np.float64] = np.diff(logs, axis=1).max(1) / (logs[:, -1] - logs[:, 0])
    return share


def largest_rise(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the step with the largest rise of the logarithm, one a row of (m, cuts)."""
    found: NDArray[np.int64] = np.diff(np.log(values), axis=1).argmax(1)
    return found


def rank_correlation(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Spearman's, row by row of (m, cuts); ties share their ranks; NaN where a row is constant."""
    a, b = (rankdata(x, axis=1) for x in (first, second))
    a, b = (x - x.mean(1, keepdims=True) for x in (a, b))
    with np.errstate(invalid="ignore"):
        found: NDArray[np.float64] = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return found
