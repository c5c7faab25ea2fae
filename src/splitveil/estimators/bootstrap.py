"""Bootstrap intervals for means and ratios of means, vectorised over resamples."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from scipy.special import ndtr, ndtri

from splitveil.rng import Rng

_INDEX_VALUES = 1 << 22


@dataclass(frozen=True)
class Interval:
    """A point estimate between the ends of its interval."""

    value: float
    low: float
    high: float


def mean_interval(
    values: Float64[np.ndarray, " n"], rng: Rng, *, level: float = 0.95, resamples: int = 2000
) -> Interval:
    """BCa bootstrap interval of a mean over independent images (Efron 1987).

    Values are sorted first, so their order changes no bit. Where infinite values occur the ends
    are those of the percentile bootstrap. Needs n >= 2.
    """
    ordered = np.sort(values)
    value = float(ordered.mean())
    (means,) = resampled_means((ordered,), rng, resamples)
    if not np.isfinite(ordered).all():
        return _percentile(value, means, level)
    leave_one_out = (ordered.sum() - ordered) / (len(ordered) - 1)
    return bca(value, means, leave_one_out, level=level)


def ratio_interval(
    top: Float64[np.ndarray, " n"],
    bottom: Float64[np.ndarray, " n"],
    rng: Rng,
    *,
    level: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """BCa bootstrap interval of mean(top) / mean(bottom), paired: images are resampled whole.

    Pairs are sorted first, so their order changes no bit. Needs n >= 2 and `bottom` > 0 somewhere;
    resamples in which it vanishes throughout count as infinite.
    """
    order = np.lexsort((bottom, top))
    a, b = top[order], bottom[order]
    value = float(a.sum() / b.sum())
    above, below = resampled_means((a, b), rng, resamples)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.nan_to_num(above / below, nan=np.inf, posinf=np.inf)
        leave_one_out = (a.sum() - a) / (b.sum() - b)
    if not (np.isfinite(ratios).all() and np.isfinite(leave_one_out).all()):
        return _percentile(value, ratios, level)
    return bca(value, ratios, leave_one_out, level=level)


def bca(
    value: float,
    resampled: Float64[np.ndarray, " b"],
    leave_one_out: Float64[np.ndarray, " n"],
    *,
    level: float,
) -> Interval:
    """Bias-corrected accelerated interval from resampled and leave-one-out statistics.

    z0 = ndtri(share of resamples below the value, ties halved), a = sum d^3 / (6 (sum d^2)^1.5)
    with d the mean leave-one-out statistic minus each; ends are the resamples' quantiles at
    ndtr(z0 + (z0 + z) / (1 - a (z0 + z))).
    """
    below = (resampled < value).mean() + 0.5 * (resampled == value).mean()
    spread = leave_one_out.mean() - leave_one_out
    power = (spread**2).sum() ** 1.5
    if below in (0, 1) or power == 0:
        return _percentile(value, resampled, level)
    z0 = ndtri(below)
    acceleration = (spread**3).sum() / (6 * power)
    z = z0 + ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    shares = ndtr(z0 + z / (1 - acceleration * z))
    low, high = np.quantile(resampled, shares)
    return Interval(value, min(float(low), value), max(float(high), value))


def _percentile(value: float, resampled: Float64[np.ndarray, " b"], level: float) -> Interval:
    low = np.quantile(resampled, (1 - level) / 2, method="lower")
    high = np.quantile(resampled, (1 + level) / 2, method="higher")
    return Interval(value, min(float(low), value), max(float(high), value))


def resampled_means(
    columns: tuple[Float64[np.ndarray, " n"], ...], rng: Rng, resamples: int
) -> list[Float64[np.ndarray, " b"]]:
    """Means of every column over the same resamples, in blocks of bounded memory."""
    n = len(columns[0])
    generator = rng.child("bootstrap").numpy()
    rows = max(1, _INDEX_VALUES // n)
    means: list[list[Float64[np.ndarray, " b"]]] = [[] for _ in columns]
    for start in range(0, resamples, rows):
        index: Int64[np.ndarray, "b n"] = generator.integers(
            0, n, (min(rows, resamples - start), n)
        )
        for store, column in zip(means, columns, strict=True):
            store.append(column[index].mean(1))
    return [np.concatenate(store) for store in means]
