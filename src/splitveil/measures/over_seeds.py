"""Means and effects that hold for other images, other attack seeds and other model seeds."""

import math
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from splitveil.errors import BadData
from splitveil.estimators.hierarchical import Method, hierarchical_interval
from splitveil.measures.checks import finite
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng

Seeded: TypeAlias = Float[Tensor, "models attacks n"]
OtherSeeded: TypeAlias = Float[Tensor, "models2 attacks2 n2"]


def mean_over_seeds(
    values: Seeded, rng: Rng, *, unit: str, method: Method = "studentised"
) -> Quantity:
    """Mean of numbers[model seed, attack seed, image], with an interval for new ones of all three.

    Every seed must have seen the same images in the same order. See
    `splitveil.estimators.hierarchical_interval` for the method; 95 %. Kind: measured. The
    assumptions say what could not vary because there was only one of it.

    Raises:
        BadData: if there are fewer than two images, no seeds, or values are not finite.
    """
    (data,) = _sorted(_seeded(values))
    interval = hierarchical_interval(data, rng, method=method)
    return Quantity(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        unit=unit,
        kind=Kind.MEASURED,
        n=data.shape[2],
        assumptions=_assumptions(data.shape, method),
    )


def log_ratio_over_seeds(
    first: Seeded, second: OtherSeeded, rng: Rng, *, method: Method = "studentised"
) -> Quantity:
    """ln(mean(first) / mean(second)) over models, attack seeds and images, with its interval.

    The effect of a defence on the mean squared error. Images and seeds are paired by position;
    seeds that have nothing in common may be paired as they come. Unit: log ratio. Kind: measured.

    Raises:
        BadData: as `mean_over_seeds`, if shapes differ, or a seed's errors are negative or all 0.
    """
    if first.shape != second.shape:
        raise BadData(
            f"errors of shape {tuple(first.shape)} and {tuple(second.shape)}: give both for the "
            "same model seeds, attack seeds and images"
        )
    a, b = _seeded(first), _seeded(second)
    if (a < 0).any() or (b < 0).any():
        raise BadData("errors are squared distances and cannot be negative")
    if not (a.any(2).all() and b.any(2).all()):
        raise BadData("a seed's errors are all zero: they have no ratio")
    a, b = _sorted(a, b)
    interval = hierarchical_interval(a, rng, against=b, method=method)
    # a resample may draw only images without error
    low = -math.inf if math.isnan(interval.low) else interval.low
    high = math.inf if math.isnan(interval.high) else interval.high
    return Quantity(
        value=interval.value,
        low=low,
        high=high,
        unit="log ratio",
        kind=Kind.MEASURED,
        n=a.shape[2],
        assumptions=_assumptions(a.shape, method),
    )


def _seeded(values: Tensor) -> NDArray[np.float64]:
    models, attacks, n = values.shape
    if not models or not attacks or n < 2:
        raise BadData(
            f"{models} model seeds, {attacks} attack seeds and {n} images: at least 1, 1 and 2 are "
            "needed"
        )
    finite(values, "values")
    data: NDArray[np.float64] = values.detach().to(torch.float64).cpu().numpy()
    return data


def _sorted(*columns: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Images in one order for all columns, so that their order changes no bit and pairs stay."""
    order = np.lexsort(np.concatenate([c.reshape(-1, c.shape[-1]) for c in columns]))
    return tuple(np.ascontiguousarray(c[:, :, order]) for c in columns)


def _assumptions(shape: tuple[int, ...], method: str) -> tuple[str, ...]:
    models, attacks, _ = shape
    words = [
        "images are independent draws; every seed saw the same ones",
        f"{models} model seeds, {attacks} attack seeds, {method}",
    ]
    if models == 1:
        words.append("holds for this one model")
    if models == 1 and attacks == 1:
        words.append("holds for this one attack seed")
    return tuple(words)
