"""How far from saturation an attack is: its error extrapolated to endless data and size."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float64
from scipy.optimize import nnls

from splitveil.errors import BadData
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng

_EXPONENTS = np.geomspace(0.05, 2.0, 60)
_COARSE = np.geomspace(0.05, 2.0, 16)
_RESAMPLES = 200
_SATURATED = 0.9
_RISES = 1.05


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """mse(n, P) = a + b n^-alpha + c P^-beta, a, b, c >= 0.

    `limit` is a, `gain` and `exponent` are b and alpha, `size_gain` and `size_exponent` c and beta.
    """

    limit: float
    gain: float
    exponent: float
    size_gain: float = 0.0
    size_exponent: float = 0.0

    def at(self, images: float, parameters: float = 1.0) -> float:
        """The error foreseen with so many auxiliary images and parameters."""
        by_size: float = self.size_gain * parameters**-self.size_exponent
        return self.limit + self.gain * float(images) ** -self.exponent + by_size


@dataclass(frozen=True, kw_only=True)
class ScalingFit:
    """A power law, and how far it and its limit can be trusted.

    `limit` is its a, in value² per pixel; `headroom` the share 1 - a / best of the least error seen
    that more data and size would take away, 0 where more made it worse. Both are proxies. `rises`
    says that runs with the most images did worse than the best by a twentieth or more.
    """

    limit: Quantity
    headroom: Quantity
    law: PowerLaw
    best: float
    rises: bool

    @property
    def is_saturated(self) -> bool:
        """Whether the limit is at least nine tenths of the least error seen, which is the last."""
        return not self.rises and self.limit.value >= _SATURATED * self.best

    def __str__(self) -> str:
        """One line that a report can print."""
        if self.rises:
            return (
                f"the least error {self.best:.3g} is not that of the most images: no power law "
                "falls through it; are the auxiliary images like the private ones?"
            )
        words = "saturated" if self.is_saturated else "NOT saturated: its failure proves little"
        share = self.headroom
        return (
            f"{words}; {share.value:.0%} [{share.low:.0%}, {share.high:.0%}] of the least error "
            f"{self.best:.3g} would go with endless data"
        )


def scaling_fit(
    images: Sequence[float],
    errors: Sequence[float],
    rng: Rng,
    *,
    parameters: Sequence[float] | None = None,
) -> ScalingFit:
    """Fit a power law to the errors of one attack at several sizes, and extrapolate it.

    Least squares of relative errors: for each pair of exponents on a grid in [0.05, 2] the
    coefficients are those of non-negative least squares. The interval resamples relative
    residuals, inflated for the degrees of freedom spent; without any left it is [0, best].

    A fit to a small range says little about the limit: attacks improve in steps that no power law
    foresees. A limit below 0.9 of the best error seen is a warning; one above is no proof.

    Args:
        images: auxiliary images of each run.
        errors: mean squared error per value of each run, on the same test images.
        rng: stream of the resampling.
        parameters: of each run's network, where they differ too.

    Raises:
        BadData: if lengths differ, numbers are not positive, or there are fewer than three
            different sizes of each kind given.
    """
    n, y = np.asarray(images, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    p = np.ones(0) if parameters is None else np.asarray(parameters, dtype=np.float64)
    _check(n, y, p)
    terms = 2 if parameters is None else 3
    grid, designs = _designs(n, p)
    law = _best(grid, designs, y)
    fitted = np.array([law.at(*sizes) for sizes in zip(n, p if len(p) else 0 * n + 1, strict=True)])
    best, limit = float(y.min()), law.limit
    spare = len(y) - 2 * terms + 1
    low, high = 0.0, best
    if spare > 0:
        residuals = (y / fitted - 1) * np.sqrt(len(y) / spare)
        generator = rng.child("scaling").numpy()
        drawn = 1 + generator.choice(residuals, size=(_RESAMPLES, len(y)))
        again = [_best(grid, designs, fitted * row).limit for row in drawn.clip(min=1e-3)]
        low, high = (float(end) for end in np.quantile(again, [0.025, 0.975]))
    low, high = min(low, limit), max(high, limit)
    words = ("the error follows a power law beyond the sizes tried", f"{len(y)} runs")
    headroom = [max(0.0, 1 - value / best) for value in (high, limit, low)]
    return ScalingFit(
        limit=_proxy(limit, low, high, "mse per value", len(y), words),
        headroom=_proxy(headroom[1], headroom[0], headroom[2], "share", len(y), words),
        law=law,
        best=best,
        rises=float(y[n == n.max()].min()) > _RISES * best,
    )


def power_law(
    images: Float64[np.ndarray, " k"], errors: Float64[np.ndarray, "r k"]
) -> tuple[PowerLaw, ...]:
    """The fit alone, to each row of errors; see `scaling_fit`.

    Raises:
        BadData: as `scaling_fit`.
    """
    for row in errors:
        _check(images, row, np.ones(0))
    grid, designs = _designs(images, np.ones(0))
    return tuple(_best(grid, designs, row) for row in errors)


def _designs(
    n: Float64[np.ndarray, " k"], p: Float64[np.ndarray, " q"]
) -> tuple[list[tuple[float, float]], list[Float64[np.ndarray, "k t"]]]:
    """Pairs of exponents, and the columns that belong to each."""
    grid = list(product(_COARSE, _COARSE)) if len(p) else [(alpha, 0.0) for alpha in _EXPONENTS]
    return grid, [_design(n, p, alpha, beta) for alpha, beta in grid]


def _design(
    n: Float64[np.ndarray, " k"], p: Float64[np.ndarray, " q"], alpha: float, beta: float
) -> Float64[np.ndarray, "k t"]:
    columns = [np.ones_like(n), n**-alpha]
    if len(p):
        columns.append(p**-beta)
    return np.stack(columns, 1)


def _best(
    grid: list[tuple[float, float]],
    designs: list[Float64[np.ndarray, "k t"]],
    y: Float64[np.ndarray, " k"],
) -> PowerLaw:
    """The law of least relative error."""
    found = []
    for design in designs:
        scale = np.abs(design).max(0)
        weights, error = nnls(design / scale / y[:, None], np.ones_like(y))
        found.append((error, weights / scale))
    least = int(np.argmin([error for error, _ in found]))
    (alpha, beta), weights = grid[least], found[least][1]
    return PowerLaw(
        limit=float(weights[0]),
        gain=float(weights[1]),
        exponent=float(alpha),
        size_gain=float(weights[2]) if len(weights) > 2 else 0.0,
        size_exponent=float(beta),
    )


def _proxy(
    value: float, low: float, high: float, unit: str, n: int, words: tuple[str, ...]
) -> Quantity:
    return Quantity(
        value=value, low=low, high=high, unit=unit, kind=Kind.PROXY, n=n, assumptions=words
    )


def _check(
    n: Float64[np.ndarray, " k"], y: Float64[np.ndarray, " k2"], p: Float64[np.ndarray, " q"]
) -> None:
    if len(n) != len(y) or (len(p) and len(p) != len(y)):
        raise BadData(
            f"{len(n)} sizes, {len(p)} parameter counts and {len(y)} errors: give one each a run"
        )
    for what, values in (("images", n), ("errors", y), ("parameters", p)):
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise BadData(f"{what} must be positive and finite")
        if what != "errors" and len(values) and len(np.unique(values)) < 3:
            raise BadData(
                f"a power law needs at least 3 different numbers of {what}, got "
                f"{len(np.unique(values))}"
            )
    if not len(n):
        raise BadData("no runs to fit: give at least 3")
