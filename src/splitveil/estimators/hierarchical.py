"""Intervals for means over images, attack seeds and model seeds at once."""

from typing import Literal

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from splitveil.estimators.bootstrap import Interval, resampled_means
from splitveil.rng import Rng

Method = Literal["studentised", "percentile"]
_VALUES = 1 << 22


def hierarchical_interval(
    values: Float64[np.ndarray, "models attacks n"],
    rng: Rng,
    *,
    against: NDArray[np.float64] | None = None,
    method: Method = "studentised",
    level: float = 0.95,
    resamples: int = 10_000,
) -> Interval:
    """The mean over images and seeds, with an interval for other images and other seeds.

    v[m, a, i] is the number of image i under attack seed a of model seed m; every seed sees the
    same images, so they are resampled jointly. Two methods:

    - "studentised": percentiles of (bootstrap over images of the seeds' average) + t s / sqrt(M),
      with s the deviation of the M models' means and t drawn from Student's law with M - 1 degrees
      of freedom. With normal model effects it keeps its level from two seeds on. With one model,
      attack seeds take the models' place, and the interval holds for that model alone; with one
      seed of each, only images vary.
    - "percentile": models are drawn with replacement, attack seeds within each drawn model, images
      jointly. With M models it cannot reach beyond the extreme ones: for M = 3 it misses the truth
      about one time in four where models vary most. It is for ten models or more.

    Args:
        values: one number for each model seed, attack seed and image.
        rng: stream of the resamples.
        against: numbers of the same shape; the statistic is then ln(mean of values / mean of
            these), with images and seeds resampled in pairs.
        method: as above.
        level: of the interval.
        resamples: how many.

    Returns:
        The interval, in the unit of the values; natural logarithm where `against` is given.
    """
    columns = (values,) if against is None else (values, against)
    value = float(_statistic([c.mean(keepdims=True).ravel() for c in columns])[0])
    if method == "percentile":
        draws = _statistic(_multistage(columns, rng, resamples))
    else:
        over_images = [c.reshape(-1, c.shape[-1]).mean(0) for c in columns]
        draws = _statistic(resampled_means(tuple(over_images), rng, resamples))
        draws = draws + _seed_draws(columns, rng, resamples)
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, min(float(low), value), max(float(high), value))


def _statistic(means: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The mean, or the log ratio of two."""
    if len(means) == 1:
        return means[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: NDArray[np.float64] = np.log(means[0]) - np.log(means[1])
    return ratio


def _seed_draws(
    columns: tuple[NDArray[np.float64], ...], rng: Rng, resamples: int
) -> NDArray[np.float64]:
    """Student-distributed shifts with the standard error between seeds."""
    by_seed = [c.mean((1, 2)) if len(c) > 1 else c.mean(2)[0] for c in columns]
    units = _statistic(by_seed)
    if len(units) < 2:
        return np.zeros(resamples)
    error = units.std(ddof=1) / np.sqrt(len(units))
    draws = rng.child("seeds").numpy().standard_t(len(units) - 1, resamples)
    shifts: NDArray[np.float64] = error * draws
    return shifts


def _multistage(
    columns: tuple[NDArray[np.float64], ...], rng: Rng, resamples: int
) -> list[NDArray[np.float64]]:
    """Means over models, attack seeds and images drawn with replacement, as counts and weights."""
    models, attacks, n = columns[0].shape
    generator = rng.child("multistage").numpy()
    chosen = generator.multinomial(models, np.full(models, 1 / models), resamples)
    seeds = generator.multinomial(chosen * attacks, np.full(attacks, 1 / attacks))
    weights = seeds.reshape(resamples, -1) / (models * attacks)
    rows = max(1, _VALUES // n)
    means: list[list[NDArray[np.float64]]] = [[] for _ in columns]
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        index = generator.integers(0, n, (stop - start, n))
        index += n * np.arange(stop - start)[:, None]
        counts = np.bincount(index.ravel(), minlength=(stop - start) * n).reshape(-1, n) / n
        for store, column in zip(means, columns, strict=True):
            by_seed = counts @ column.reshape(-1, n).T
            store.append((by_seed * weights[start:stop]).sum(1))
    return [np.concatenate(store) for store in means]
