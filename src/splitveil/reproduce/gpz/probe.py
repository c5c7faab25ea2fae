"""What the experiments that train networks of their own measure, and how it is meant over seeds."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from splitveil.attacks.classes import Classes
from splitveil.attacks.evidence import Evidence, in_shape
from splitveil.attacks.ridge import solve
from splitveil.data import LabelledImages
from splitveil.errors import BadData
from splitveil.estimators.geometry import ClassGeometry
from splitveil.estimators.moments import ClassMoments
from splitveil.estimators.scatter import Moments
from splitveil.measures import log_ratio_over_seeds, mse_per_image
from splitveil.partition.layout import Layout, Part
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng

PERMUTATIONS = 20
GROUPS = 16


def ridge_errors(
    known: tuple[Tensor, LabelledImages],
    hidden: tuple[Tensor, LabelledImages],
    *,
    labels_known: bool,
) -> NDArray[np.float64]:
    """Squared error of `Ridge()` on each hidden image, value² per pixel.

    `known` and `hidden` are features (n, f) with their images: the attacker's, and those under
    attack. It is the recipe's own solution, on features that need not be those of a cut.
    """
    z, images = known
    other, targets = hidden
    y = images.y if labels_known else None
    classes = Classes.of(y)
    found = Evidence(
        x=images.x.flatten(1),
        rows=classes.rows(y, len(images)),
        classes=classes,
        shape=tuple(images.x.shape[1:]),
        z=z.float(),
        layout=Layout((Part("z", (z.shape[1],)),)),
    )
    fitted = solve(found)[0]
    rows = classes.rows(targets.y if labels_known else None, len(targets))
    rebuilt = in_shape(fitted.predict(other.float(), rows), found.shape)
    return np.asarray(mse_per_image(rebuilt, targets.x), dtype=np.float64)


def class_moments(z: Tensor, y: Tensor, classes: int, *, groups: int = GROUPS) -> Moments:
    """Class-wise moments of features (n, f)."""
    moments = ClassMoments(classes, z.shape[1], groups=groups)
    moments.update(z.float(), y, torch.arange(len(z)))
    return moments.result()


def centre_accuracy(z: Tensor, y: Tensor, classes: int) -> float:
    """Share of images nearest to the mean of their own class, each left out of it."""
    geometry = ClassGeometry(classes, z.shape[1])
    geometry.update(z.float(), y, torch.arange(len(z)))
    found = geometry.result().centre_accuracy
    if found is None:
        raise BadData("one class alone has no nearest other centre: give images of several")
    return found.value


def permuted_shares(z: Tensor, y: Tensor, classes: int, rng: Rng) -> list[float]:
    """S_B/S_T under random orders of the labels, in units of its mean (K - 1) / (N - 1)."""
    shares = []
    for turn in range(PERMUTATIONS):
        order = torch.randperm(len(y), generator=rng.child("permutation", turn).torch())
        values = class_moments(z, y[order], classes, groups=0).values
        shares.append(values["between"] / values["total"] * (len(y) - 1) / (classes - 1))
    return shares


def labels(images: LabelledImages) -> Tensor:
    """The labels of images that have some.

    Raises:
        BadData: if they have none.
    """
    if images.y is None:
        raise BadData(f"{len(images)} images without labels: this experiment needs them")
    return images.y


def over_seeds(values: Sequence[float], *, unit: str, kind: Kind = Kind.MEASURED) -> Quantity:
    """Mean of one number a seed, with Student's 95 % interval for other seeds."""
    n = len(values)
    if not n:
        raise BadData("no seed was measured")
    mean = float(np.mean(values))
    half = math.inf
    if n > 1:
        half = float(stats.t.ppf(0.975, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Quantity(
        value=mean,
        low=mean - half,
        high=mean + half,
        unit=unit,
        kind=kind,
        n=n,
        assumptions=(f"{n} seeds, Student's t", f"median {float(np.median(values)):.4g}"),
    )


def ratio_over_seeds(logs: Sequence[float], *, kind: Kind = Kind.MEASURED) -> Quantity:
    """Geometric mean of one ratio a seed, given as its logarithm, with its interval."""
    return exponential(over_seeds(logs, unit="log ratio", kind=kind))


def error_ratio(
    first: Sequence[NDArray[np.float64]], second: Sequence[NDArray[np.float64]], rng: Rng
) -> Quantity:
    """Ratio of mean errors over seeds and images, paired, with its interval."""
    top, bottom = (torch.from_numpy(np.stack(side))[:, None] for side in (first, second))
    return exponential(for_other_seeds(log_ratio_over_seeds(top, bottom, rng), len(first)))


def for_other_seeds(found: Quantity, seeds: int) -> Quantity:
    """The same, its interval unlimited where one seed says nothing of others."""
    return found if seeds > 1 else replace(found, low=-math.inf, high=math.inf)


def exponential(found: Quantity) -> Quantity:
    """A log ratio as a ratio."""
    return replace(
        found,
        value=_exp(found.value),
        low=_exp(found.low),
        high=_exp(found.high),
        unit="ratio",
    )


def _exp(log: float) -> float:
    return math.exp(log) if log < 700 else math.inf
