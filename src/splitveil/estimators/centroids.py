"""Clusters within every class, found for all classes at once."""

from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.shapes import Features, Labels

Centroids: TypeAlias = Float[Tensor, "k m f"]
_BLOCK_VALUES = 1 << 25


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassClusters:
    """A mixture of m components in each of k classes: where they lie, how wide, how likely.

    `centroids` (k, m, f). `variances` are mean squared deviations of a component's rows from its
    centroid: (k, m, 1) over rows and values, (k, m, f) value by value. `shares` (k, m) sum to one
    within a class; an empty component has share 0, and so has every one of a class without rows.
    """

    centroids: Centroids
    variances: Float[Tensor, "k m s"]
    shares: Float[Tensor, "k m"]

    def __post_init__(self) -> None:
        k, m, f = self.centroids.shape
        if self.variances.shape not in ((k, m, 1), (k, m, f)) or self.shares.shape != (k, m):
            raise BadData(
                f"centroids of shape ({k}, {m}, {f}) need variances of shape ({k}, {m}, 1) or "
                f"({k}, {m}, {f}) and shares of shape ({k}, {m}), got "
                f"{tuple(self.variances.shape)} and {tuple(self.shares.shape)}"
            )

    def to(self, like: Tensor) -> "ClassClusters":
        """The same on the device and in the dtype of `like`."""
        return ClassClusters(
            centroids=self.centroids.to(like),
            variances=self.variances.to(like),
            shares=self.shares.to(like),
        )


def own_offsets(z: Features, y: Labels, centroids: Centroids) -> Float[Tensor, "n m f"]:
    """z_i - mu_yk for every component k of the row's own class."""
    return z[:, None] - centroids.index_select(0, y)


def nearest_component(z: Features, y: Labels, centroids: Centroids) -> Labels:
    """The component of its own class that lies nearest to each row."""
    return torch.linalg.vector_norm(own_offsets(z, y, centroids), dim=2).argmin(1)


@torch.no_grad()
def fit_clusters(
    z: Features,
    y: Labels,
    *,
    classes: int,
    clusters: int,
    generator: torch.Generator,
    power: float = 2.0,
    rounds: int = 50,
    start: Centroids | None = None,
    diagonal: bool = False,
) -> ClassClusters:
    """K-means in every class, all classes in one batch.

    The first centroid of a class is a row drawn evenly, each further one a row drawn with chance
    in proportion to |z - nearest centroid|^power; then Lloyd's rounds until no row changes its
    component. A component that loses all rows stays where it is, with share and variance 0.

    Args:
        z: features of n rows, and `y` their classes.
        y: see `z`.
        classes: how many there are; a class without rows gets shares of 0.
        clusters: components a class.
        generator: draws the first centroids, on the CPU.
        power: 2 is k-means++; 1 what the published code of conditional entropy maximisation does.
        rounds: at most so many.
        start: centroids to begin from, in place of drawn ones.
        diagonal: whether variances are kept value by value.

    Raises:
        BadPlan: if a class has fewer rows than components.
        BadData: if features are not finite.
    """
    if clusters < 1 or rounds < 1:
        raise BadPlan(f"clusters and rounds must be positive, got {clusters} and {rounds}")
    if not bool(torch.isfinite(z).all()):
        raise BadData("features hold NaN or infinity: check the model's weights and the images")
    counts = y.bincount(minlength=classes)
    short = (counts > 0) & (counts < clusters)
    if bool(short.any()):
        c = int(short.nonzero()[0])
        raise BadPlan(
            f"class {c} has {int(counts[c])} images, too few for {clusters} components: ask for "
            "fewer or give more images"
        )
    rows, there = padded(z, y, classes)
    return fit_padded(
        rows,
        there,
        clusters=clusters,
        generator=generator,
        power=power,
        rounds=rounds,
        start=start,
        diagonal=diagonal,
    )


def padded(
    z: Features, y: Labels, classes: int
) -> tuple[Float[Tensor, "k r f"], Bool[Tensor, "k r"]]:
    """Rows by class, as many places a class as the largest has, and which places are taken."""
    order = y.argsort(stable=True)
    counts = y.bincount(minlength=classes)
    first = counts.cumsum(0) - counts
    place = torch.arange(len(y), device=y.device) - first[y[order]]
    longest = max(1, int(counts.max()))
    rows = z.new_zeros(classes, longest, z.shape[1])
    rows[y[order], place] = z[order]
    return rows, torch.arange(longest, device=y.device) < counts[:, None]


@torch.no_grad()
def fit_padded(
    rows: Float[Tensor, "k r f"],
    there: Bool[Tensor, "k r"],
    *,
    clusters: int,
    generator: torch.Generator,
    power: float = 2.0,
    rounds: int = 50,
    start: Centroids | None = None,
    diagonal: bool = False,
) -> ClassClusters:
    """`fit_clusters` on rows already sorted by class; a class may have fewer rows than clusters."""
    # about its class's mean, so that squares do not cancel
    count = there.sum(1).clamp_min(1)
    mean = (rows * there[:, :, None]).sum(1) / count[:, None]
    rows = (rows - mean[:, None]) * there[:, :, None]
    if start is None:
        centroids = _seeds(rows, there, clusters, generator, power)
    else:
        centroids = start.to(rows) - mean[:, None]
    found = _nearest(rows, centroids)
    for _ in range(rounds):
        centroids = _means(rows, there, found, centroids)
        moved = _nearest(rows, centroids)
        if bool((moved == found).all()):
            break
        found = moved
    member = _member(found, there, clusters).to(rows)
    sizes = member.sum(1)
    scatter = member.transpose(1, 2) @ rows.square()
    middle = _means(rows, there, found, centroids)
    # about the centroid, which after the last round may lie a little off the members' mean
    spread = scatter / sizes.clamp_min(1)[:, :, None] + centroids * (centroids - 2 * middle)
    spread = torch.where(sizes[:, :, None] > 0, spread.clamp_min(0), 0)
    return ClassClusters(
        centroids=centroids + mean[:, None],
        variances=spread if diagonal else spread.mean(2, keepdim=True),
        shares=sizes / count[:, None],
    )


def _seeds(
    rows: Tensor, there: Tensor, clusters: int, generator: torch.Generator, power: float
) -> Tensor:
    """First centroids, drawn in turn; all classes draw together."""
    draws = torch.rand(clusters, len(rows), 1, generator=generator, dtype=torch.float64)
    draws = draws.to(rows.device)
    weights = there.double()
    squared = torch.full_like(weights, torch.inf)
    seeds: list[Tensor] = []
    for draw in draws:
        reach = weights.cumsum(1)
        place = torch.searchsorted(reach, draw * reach[:, -1:], right=True)
        last = there.sum(1, keepdim=True).clamp_min(1) - 1
        seed = rows.take_along_dim(torch.minimum(place, last)[:, :, None], 1)
        seeds.append(seed)
        squared = torch.minimum(squared, (rows - seed).square().sum(2, dtype=torch.float64))
        # where all rows lie on centroids already, any row is as good
        far = squared.pow(power / 2) * there
        weights = torch.where(far.sum(1, keepdim=True) > 0, far, there.double())
    return torch.cat(seeds, 1)


def _nearest(rows: Tensor, centroids: Tensor) -> Int64[Tensor, "k r"]:
    """The nearest centroid of its class, for every place."""
    length = centroids.square().sum(2)[:, None]
    at_once = max(1, _BLOCK_VALUES // max(1, rows.shape[1] * centroids.shape[1]))
    parts = zip(*(t.split(at_once) for t in (rows, centroids, length)), strict=True)
    return torch.cat([torch.baddbmm(c, r, m.mT, alpha=-2).argmin(2) for r, m, c in parts])


def _member(found: Tensor, there: Tensor, clusters: int) -> Bool[Tensor, "k r m"]:
    numbers = torch.arange(clusters, device=found.device)
    return (found[:, :, None] == numbers) & there[:, :, None]


def _means(rows: Tensor, there: Tensor, found: Tensor, before: Tensor) -> Tensor:
    """Means of the members; where there are none, what was before."""
    member = _member(found, there, before.shape[1]).to(rows)
    sizes = member.sum(1)[:, :, None]
    return torch.where(sizes > 0, member.mT @ rows / sizes.clamp_min(1), before)
