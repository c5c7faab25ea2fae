"""Can an image be found among others by its reconstruction?"""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.estimators.order_statistics import quantile_interval, share_interval
from splitveil.measures.checks import finite
from splitveil.measures.reconstruction import mean_of
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.shapes import Targets

Gallery: TypeAlias = Float[Tensor, "g *target2"]  # noqa: F821 - axis names
OwnPlaces: TypeAlias = Int64[Tensor, " n2"]
GalleryLabels: TypeAlias = Int64[Tensor, " g2"]
_BLOCK_VALUES = 1 << 22
# distances closer than this share of the vectors' squares are rounding apart, so they tie
_TIE = 1e-12


@dataclass(frozen=True, eq=False)
class Ranks:
    """How many gallery items are nearer than the true one, tie with it, and could be confused."""

    nearer: Int64[np.ndarray, " n"]
    tied: Int64[np.ndarray, " n"]
    size: Int64[np.ndarray, " n"]


def retrieval_ranks(
    queries: Targets,
    gallery: Gallery,
    *,
    own: OwnPlaces | None = None,
    labels: GalleryLabels | None = None,
) -> Ranks:
    """Place of each query's true item among the gallery, by Euclidean distance in float64.

    Args:
        queries: reconstructions, or their embeddings.
        gallery: originals, or their embeddings; further items may follow.
        own: for each query the index of its true item; without it, query i belongs to item i.
        labels: of the gallery; given, each query is ranked within its true item's class only.

    Raises:
        BadData: if shapes do not fit, an index or count is wrong, or values are not finite.
    """
    places = torch.arange(len(queries)) if own is None else own.cpu()
    _check(queries, gallery, places, labels)
    q = queries.detach().flatten(1).double().cpu()
    g = gallery.detach().flatten(1).double().cpu()
    centre = g.mean(0)
    q, g = q - centre, g - centre
    squares = g.square().sum(1)
    nearer = torch.empty(len(q), dtype=torch.int64)
    tied, size = torch.empty_like(nearer), torch.full_like(nearer, len(g))
    step = max(1, _BLOCK_VALUES // len(g))
    classes = None if labels is None else labels.cpu()
    for start in range(0, len(q), step):
        rows = slice(start, start + step)
        place, part = places[rows], q[rows]
        distances = squares - 2 * part @ g.T
        true = distances.gather(1, place[:, None])
        slack = _TIE * (part.square().sum(1)[:, None] + squares + squares[place][:, None])
        if classes is not None:
            others = classes[place][:, None] != classes
            distances.masked_fill_(others, math.inf)
            size[rows] = (~others).sum(1)
        nearer[rows] = (distances < true - slack).sum(1)
        tied[rows] = (distances <= true + slack).sum(1) - nearer[rows] - 1
    return Ranks(nearer.numpy(), tied.numpy(), size.numpy())


def retrieval(
    queries: Targets,
    gallery: Gallery,
    rng: Rng,
    *,
    own: OwnPlaces | None = None,
    labels: GalleryLabels | None = None,
    size: int | None = None,
    top: tuple[int, ...] = (1, 5),
) -> dict[str, Quantity]:
    """How often the true image is among the k nearest of a gallery, and where it stands.

    Pixels and embeddings alike; give both as rows. A tie counts by its chance, so a constant answer
    gets exactly k / N. Hits in a smaller gallery are exact averages over all galleries of `size`
    that hold the true item, from the hypergeometric law, without drawing any.

    An image may be found without being rebuilt, and rebuilt without being told from its like:
    read this beside the error. A query whose class has no other item is left out.

    Args:
        queries: reconstructions, or their embeddings.
        gallery: originals, or their embeddings; further items may follow.
        rng: stream of the bootstrap of the AUC.
        own: for each query the index of its true item; without it, query i belongs to item i.
        labels: of the gallery; given, each query is ranked within its true item's class.
        size: N, by default all of the gallery, or of the class.
        top: the k of the hit rates.

    Returns:
        "top<k>", share of queries with the true item among the k nearest, and "top<k>_chance", that
        of a blind guess, k / N; "lift", (top1 - chance) / (1 - chance), negative below chance;
        "median_rank", from 1; "auc", chance that the true item is nearer than another one, .5 for
        a blind guess. Kind: measured. Intervals hold for other images and this gallery.

    Example:
        >>> import torch
        >>> from splitveil.rng import Rng
        >>> x = torch.eye(100)
        >>> found = retrieval(0.9 * x, x, Rng(0))
        >>> print(found["top1"].value, found["median_rank"].value, found["top5_chance"].value)
        1.0 1.0 0.05

    Raises:
        BadData: as `retrieval_ranks`, if no query has another item to be confused with, or a class
            has fewer items than `size`.
        BadPlan: if `size` is below 2, or a k below 1.
    """
    if (size is not None and size < 2) or not top or min(top) < 1:
        raise BadPlan(f"retrieval needs size >= 2 and every k >= 1, got {size} and {top}")
    ranks = retrieval_ranks(queries, gallery, own=own, labels=labels)
    several = ranks.size > 1
    if not several.any():
        raise BadData("no query has another item to be confused with: give a larger gallery")
    ranks = Ranks(ranks.nearer[several], ranks.tied[several], ranks.size[several])
    if size is not None and size > ranks.size.min():
        raise BadData(
            f"a gallery of {size} was asked for, but one has {ranks.size.min()} items only"
        )
    among = ranks.size if size is None else np.full_like(ranks.size, size)
    words = (
        "images are independent draws",
        "the gallery is fixed",
        f"gallery of {_counts(among)}" + ("" if labels is None else ", same class"),
    )
    found: dict[str, Quantity] = {}
    for k in top:
        chance = _chance(among, k)
        found[f"top{k}"] = _share(_hits(ranks, among, k), (*words, f"chance {chance:.3g}"))
        found[f"top{k}_chance"] = Quantity.exact(
            chance, unit="share", kind=Kind.THEOREM, n=len(among), assumptions=("a blind guess",)
        )
    found["lift"] = _lift(_share(_hits(ranks, among, 1), words), _chance(among, 1))
    below = (ranks.nearer + 0.5 * ranks.tied) / (ranks.size - 1)
    found["median_rank"] = _median(1 + below * (among - 1), float(among.max()), words)
    found["auc"] = _auc(1 - below, rng.child("auc"), words)
    return found


def _hits(ranks: Ranks, among: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Chance of each query to have its item among the k nearest, ties and sub-galleries averaged.

    Of the other size - 1 items r - 1 are nearer; a gallery that keeps among - 1 of them hits where
    at most k - 1 of the nearer ones are kept.
    """
    hits = np.empty(len(among))
    for whole, part in {*zip(ranks.size.tolist(), among.tolist(), strict=True)}:
        here = (ranks.size == whole) & (among == part)
        by_rank = stats.hypergeom.cdf(k - 1, whole - 1, np.arange(whole), part - 1)
        summed = np.concatenate([[0.0], np.cumsum(by_rank)])
        first, ties = ranks.nearer[here], ranks.tied[here] + 1
        hits[here] = (summed[first + ties] - summed[first]) / ties
    return hits.clip(0.0, 1.0)


def _chance(among: NDArray[np.int64], k: int) -> float:
    return math.fsum(np.minimum(1.0, k / among)) / len(among)


def _share(hits: NDArray[np.float64], words: tuple[str, ...]) -> Quantity:
    # sorted, so that the order of images changes no bit of the sum
    interval = share_interval(min(float(np.sort(hits).sum()), float(len(hits))), len(hits))
    return Quantity(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        unit="share",
        kind=Kind.MEASURED,
        n=len(hits),
        assumptions=words,
    )


def _auc(above: NDArray[np.float64], rng: Rng, words: tuple[str, ...]) -> Quantity:
    if len(above) > 1 and (above == above[0]).all():
        # resamples of equal values never differ, which would claim certainty
        return _share(above, words)
    return mean_of(
        torch.from_numpy(above), rng, unit="share", support=(0.0, 1.0), assumptions=words[1:]
    )


def _lift(top1: Quantity, chance: float) -> Quantity:
    low, value, high = ((v - chance) / (1 - chance) for v in (top1.low, top1.value, top1.high))
    return Quantity(
        value=value,
        low=low,
        high=high,
        unit="share",
        kind=Kind.MEASURED,
        n=top1.n,
        assumptions=(*top1.assumptions, f"chance {chance:.3g} is 0"),
    )


def _median(ranks: Float64[np.ndarray, " n"], last: float, words: tuple[str, ...]) -> Quantity:
    interval = quantile_interval(ranks, 0.5, support=(1.0, last))
    return Quantity(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        unit="rank",
        kind=Kind.MEASURED,
        n=len(ranks),
        assumptions=words,
    )


def _counts(among: NDArray[np.int64]) -> str:
    low, high = int(among.min()), int(among.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _check(queries: Tensor, gallery: Tensor, places: Tensor, labels: GalleryLabels | None) -> None:
    if queries.shape[1:] != gallery.shape[1:]:
        raise BadData(
            f"queries have shape {tuple(queries.shape[1:])}, gallery items "
            f"{tuple(gallery.shape[1:])}: both must be the same"
        )
    if not len(queries) or len(gallery) < 2:
        raise BadData(
            f"{len(queries)} queries and {len(gallery)} gallery items: at least 1 and 2 are needed"
        )
    if len(places) != len(queries):
        raise BadData(f"{len(places)} true places for {len(queries)} queries: give one each")
    if not 0 <= int(places.min()) <= int(places.max()) < len(gallery):
        raise BadData(
            f"true places run from {int(places.min())} to {int(places.max())}, the gallery has "
            f"{len(gallery)} items"
        )
    if labels is not None and len(labels) != len(gallery):
        raise BadData(f"{len(labels)} labels for {len(gallery)} gallery items: give one each")
    finite(queries, "queries")
    finite(gallery, "gallery items")
