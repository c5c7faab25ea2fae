"""A lower bound on every attacker's error on real images, from the noise alone."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.estimators.gallery import GalleryPosterior, GalleryState
from splitveil.measures.checks import OtherFeatures, OtherLabels, finite
from splitveil.measures.galleries import (
    NO_GUARANTEE,
    check_galleries,
    check_paired,
    gallery_scores,
    no_bound,
    one_sided,
    sent_copies,
)
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Targets

_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class GalleryBlock:
    """Some items of a gallery: targets, their clean features, and labels where those are known."""

    x: Targets
    features: OtherFeatures
    labels: OtherLabels | None = None


@dataclass(frozen=True, kw_only=True)
class GeniePoint:
    """What galleries of `size` items prove of every attacker, and what they suggest.

    `bound`: least mean squared error per value (see `genie_bound`). `anonymity`: exp(H(I | Z)),
    the number of equally likely items whose uncertainty equals that of an attacker who holds the
    gallery; lower bound. `identification`: E max_i w_i, the most often any attacker can name the
    hidden item among `size`; upper bound. `worst`: least over hidden items of the mean posterior
    variance; a proxy, since an attacker may favour one image at the others' expense.
    """

    size: int
    bound: Quantity
    anonymity: Quantity
    identification: Quantity
    worst: Quantity


def genie_bound(
    x: Targets,
    features: OtherFeatures,
    release: Release,
    rng: Rng,
    *,
    labels: OtherLabels | None = None,
    galleries: int = 20,
    draws: int = 4,
    sends: int = 1,
    level: float = 0.95,
) -> Quantity:
    """Least mean squared error of any attacker whatever, at confidence `level`.

    Hand the attacker a gallery of N images that holds the hidden one, and it can only gain. Its
    best answer is then known, x̄ = sum w_i x_i with w_i ~ p(z | x_i), and so is its error:

        mmse(X | Z) >= B_N = E sum_i w_i |x_i - x̄|² / d

    B_N is estimated on disjoint galleries, whose items (the first 1024 of each) are hidden in turn
    `draws` times; the value is the one-sided lower end of its t interval over galleries, and the
    truth lies in [value, inf) at `level`. It rises with N towards the least error and is near 0
    where the noise is small beside the distances between images. For a release that is followed by
    post-processing the bound of the noisy part is given, which holds for the whole.

    Args:
        x: targets drawn like the private ones; any number of values each. Give embeddings of the
            images to bound the squared error of an embedding instead.
        features: clean features of the same targets, before the release.
        release: what is done to them; fitted on other images.
        rng: stream of shuffles and noise.
        labels: give them where the attacker knows the label: the gallery is narrowed to the hidden
            image's class. That bound holds for every attacker; the one without labels does not
            hold for those that know them.
        galleries: how many disjoint ones to make, at least 20.
        draws: noise draws for each hidden item.
        sends: how many times each image is sent, each with fresh noise.
        level: confidence of the one-sided bound.

    Returns:
        Unit: mse per value. Kind: theorem at confidence, lower; or the theorem 0 for a release
        without noise of known law, with the words "no information-theoretic guarantee".

    Raises:
        BadData: if counts differ, values are not finite, or there are fewer than two images for
            each gallery.
        BadPlan: if there are fewer than 20 galleries, or no draws or sends.
    """
    check_galleries(galleries, draws, sends, level)
    check_paired(x, features, labels)
    if not release.dominating().has_density:
        return no_bound("mse per value", len(x))
    return genie_curve(
        x,
        features,
        release,
        rng,
        labels=labels,
        galleries=galleries,
        draws=draws,
        sends=sends,
        level=level,
    )[-1].bound


def genie_curve(
    x: Targets,
    features: OtherFeatures,
    release: Release,
    rng: Rng,
    *,
    sizes: Sequence[int] = (),
    labels: OtherLabels | None = None,
    galleries: int = 20,
    draws: int = 4,
    sends: int = 1,
    level: float = 0.95,
) -> tuple[GeniePoint, ...]:
    """`genie_bound` and its companions for nested galleries, all from one pass.

    Args:
        x: as in `genie_bound`, as are the other arguments.
        features: clean features of the same targets.
        release: what is done to them; needs a density.
        rng: stream of shuffles and noise.
        sizes: increasing gallery sizes to report beside the largest possible one. Only the first
            `sizes[0]` items of each gallery are then hidden.
        labels: labels, where the attacker knows them.
        galleries: how many disjoint galleries.
        draws: noise draws for each hidden item.
        sends: how many times each image is sent.
        level: confidence of each number; not of all sizes together.

    Returns:
        One point for each size, the largest last.

    Raises:
        BadData: as `genie_bound`.
        BadPlan: as `genie_bound`, if the release has no density, or sizes do not increase from 2
            to at most the number of images for each gallery.
    """
    check_galleries(galleries, draws, sends, level)
    check_paired(x, features, labels)
    largest = len(x) // galleries
    if largest < 2:
        raise BadData(
            f"{galleries} disjoint galleries need at least {2 * galleries} images, got {len(x)}"
        )
    wanted = sorted({*sizes, largest})
    if wanted[0] < 2 or wanted[-1] > largest or list(sizes) != sorted(set(sizes)):
        raise BadPlan(
            f"gallery sizes must increase from 2 to at most {largest} "
            f"({len(x)} images in {galleries} galleries), got {tuple(sizes)}"
        )
    finite(x, "images")
    finite(features, "features")
    order = torch.randperm(len(x), generator=rng.child("galleries").torch())

    def blocks(chosen: Tensor) -> Iterator[GalleryBlock]:
        for part in _cut_at(chosen, wanted):
            known = None if labels is None else labels[part]
            yield GalleryBlock(x[part], features[part], known)

    points = genie_stream(
        (blocks(chosen) for chosen in order[: largest * galleries].split(largest)),
        release,
        rng,
        hidden=min(wanted[0], _BLOCK),
        draws=draws,
        sends=sends,
        level=level,
    )
    return tuple(point for point in points if point.size in wanted)


def genie_stream(
    galleries: Iterable[Iterable[GalleryBlock]],
    release: Release,
    rng: Rng,
    *,
    hidden: int = 1,
    draws: int = 1,
    sends: int = 1,
    level: float = 0.95,
) -> tuple[GeniePoint, ...]:
    """The same from galleries of unlimited size, in the memory of one block.

    Args:
        galleries: at least 20 independent ones, each an iterable of blocks of the same sizes. The
            first `hidden` items of a gallery's first block are hidden in turn.
        release: what is done to features; needs a density.
        rng: stream of the noise.
        hidden: hidden items for each gallery.
        draws: noise draws for each hidden item.
        sends: how many times each image is sent.
        level: confidence of each number; not of all sizes together.

    Returns:
        One point after each block: nested galleries, each holding the ones before.

    Raises:
        BadData: if a block is not finite, its counts differ, or galleries differ in their sizes.
        BadPlan: if there are fewer than 20 galleries, or the release has no density.
    """
    noisy = release.dominating()
    if not noisy.has_density:
        raise BadPlan(f"{release!r}: {NO_GUARANTEE}; use a release with noise")
    seen: list[tuple[int, ...]] = []
    states: list[list[GalleryState]] = []
    narrowed = False
    for index, blocks in enumerate(galleries):
        sizes: list[int] = []
        states.append([])
        for size, state, known in _states(
            blocks, noisy, rng.child("gallery", index), hidden, draws, sends
        ):
            sizes.append(size)
            states[-1].append(state)
            narrowed = known
        seen.append(tuple(sizes))
    check_galleries(len(seen), draws, sends, level)
    if len(set(seen)) > 1 or not seen[0]:
        raise BadData(f"galleries differ in their block sizes: {sorted(set(seen))[:3]}")
    notes = (
        "private images are drawn like these, independently",
        "the noise is fresh and its law is the stated one",
        f"each image is sent {sends} time{'s' if sends > 1 else ''}",
        "the attacker may know the label" if narrowed else "the label is not known",
    )
    return tuple(
        _point(size, [each[place] for each in states], draws, level, notes)
        for place, size in enumerate(seen[0])
    )


def _states(
    blocks: Iterable[GalleryBlock], release: Release, rng: Rng, hidden: int, draws: int, sends: int
) -> Iterator[tuple[int, GalleryState, bool]]:
    """Size so far, posterior and whether labels narrow it, after each block of one gallery."""
    size = 0
    for block in blocks:
        check_paired(block.x, block.features, block.labels)
        finite(block.x, "images")
        finite(block.features, "features")
        x, features = block.x.flatten(1).cpu(), block.features.cpu()
        labels = None if block.labels is None else block.labels.cpu()
        own: Tensor | None = None
        if size == 0:
            if not 1 <= hidden <= len(x):
                raise BadPlan(f"hidden must lie between 1 and the first block's {len(x)} items")
            own = torch.arange(hidden).repeat(draws)
            sent = sent_copies(release, features[:hidden], rng, draws, sends)
            classes = None if labels is None else labels[own]
            posterior = GalleryPosterior(x[own])
        scores = gallery_scores(release, sent, features)
        if classes is not None and labels is not None:
            scores.masked_fill_(classes[:, None] != labels, -math.inf)
        posterior.update(scores, x, own)
        size += len(x)
        yield size, posterior.state(), labels is not None


def _point(
    size: int, states: list[GalleryState], draws: int, level: float, notes: tuple[str, ...]
) -> GeniePoint:
    """Intervals over disjoint galleries: within one, draws are dependent."""
    variance = torch.stack([state.variance for state in states])
    notes = (f"means of {len(states)} disjoint galleries of {size} are close to normal", *notes)
    n = size * len(states)

    def bound(value: float, direction: Direction, unit: str, ceiling: float) -> Quantity:
        lower = direction is Direction.LOWER
        return Quantity(
            value=value,
            low=value if lower else 0.0,
            high=ceiling if lower else value,
            unit=unit,
            kind=Kind.CONFIDENCE,
            n=n,
            direction=direction,
            level=level,
            assumptions=notes,
        )

    error = one_sided(variance.mean(1), level, Direction.LOWER)
    entropy = one_sided(torch.stack([s.entropy.mean() for s in states]), level, Direction.LOWER)
    share = one_sided(torch.stack([s.largest.mean() for s in states]), level, Direction.UPPER)
    worst = float(variance.reshape(len(states), draws, -1).mean(1).min())
    return GeniePoint(
        size=size,
        bound=bound(max(0.0, error), Direction.LOWER, "mse per value", math.inf),
        anonymity=bound(
            min(float(size), math.exp(max(0.0, entropy))), Direction.LOWER, "images", float(size)
        ),
        identification=bound(min(1.0, share), Direction.UPPER, "share", 1.0),
        worst=Quantity.exact(
            worst,
            unit="mse per value",
            kind=Kind.PROXY,
            n=variance.shape[1] // draws * len(states),
            assumptions=(
                "least over hidden images of the Bayes attacker's expected error: an attacker "
                "may do better on one image at the others' expense",
                f"mean of {draws} noise draws an image",
            ),
        ),
    )


def _cut_at(chosen: Tensor, ends: Sequence[int]) -> list[Tensor]:
    """Pieces of at most `_BLOCK` items that end at every one of `ends`."""
    edges = sorted({*range(0, ends[-1], _BLOCK), *ends, 0})
    return [chosen[a:b] for a, b in pairwise(edges)]
