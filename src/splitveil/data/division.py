"""Dividing one source into auxiliary, validation and test images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splitveil.errors import BadData, BadPlan
from splitveil.rng import Rng

MINIMUM = {"auxiliary": 16, "validation": 4, "test": 8}


@dataclass(frozen=True, kw_only=True)
class SplitSizes:
    """The most images each split may hold; of a smaller source each takes its share.

    Raises:
        BadPlan: if a split would be too small to attack or to score.
    """

    auxiliary: int = 2000
    validation: int = 500
    test: int = 1000

    def __post_init__(self) -> None:
        for name, least in MINIMUM.items():
            if getattr(self, name) < least:
                raise BadPlan(
                    f"{name} must hold at least {least} images, got {getattr(self, name)}"
                )

    def share(self, available: int, names: tuple[str, ...], where: str) -> dict[str, int]:
        """Images for each of the named splits out of `available`.

        Raises:
            BadData: if there are too few.
        """
        wanted = {name: int(getattr(self, name)) for name in names}
        scale = min(1.0, available / sum(wanted.values()))
        counts = {name: max(MINIMUM[name], int(count * scale)) for name, count in wanted.items()}
        left = min(available, sum(wanted.values())) - sum(counts.values())
        largest = max(counts, key=lambda name: counts[name])
        counts[largest] += left
        if counts[largest] < MINIMUM[largest]:
            least = sum(MINIMUM[name] for name in names)
            raise BadData(
                f"{where} has {available} images, too few: at least {least} are needed for "
                f"{' and '.join(names)}, and hundreds for a telling audit"
            )
        return counts


def stratified_order(labels: NDArray[np.int64] | None, count: int, rng: Rng) -> NDArray[np.int64]:
    """A random order in which every run of images holds the classes in their overall proportion.

    Within a class of m images the one of random rank r is placed at (r + u) / m with a random
    u in [0, 1); sorting by place spreads each class evenly. Without labels, a random permutation.
    """
    generator = rng.numpy()
    order = generator.permutation(count)
    if labels is None:
        return order
    shuffled = labels[order]
    by_class = np.argsort(shuffled, kind="stable")
    sizes = np.bincount(shuffled)
    starts = np.cumsum(sizes) - sizes
    ranks = np.empty(count)
    ranks[by_class] = np.arange(count) - np.repeat(starts, sizes)
    places = (ranks + generator.random(count)) / sizes[shuffled]
    return order[np.argsort(places, kind="stable")]


def divide(
    labels: NDArray[np.int64] | None, counts: dict[str, int], available: int, rng: Rng
) -> dict[str, NDArray[np.int64]]:
    """Disjoint positions for each split, stratified where labels are known."""
    order = stratified_order(labels, available, rng)
    divided: dict[str, NDArray[np.int64]] = {}
    start = 0
    for name, count in counts.items():
        divided[name] = order[start : start + count]
        start += count
    return divided
