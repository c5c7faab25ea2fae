"""The genie-gallery bound with transformed copies of its items as further decoys."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from splitveil.errors import BadData, BadPlan
from splitveil.estimators.gallery import GalleryPosterior
from splitveil.estimators.jacobian import Head
from splitveil.measures.checks import OtherLabels, finite
from splitveil.measures.galleries import (
    check_galleries,
    gallery_scores,
    no_bound,
    one_sided,
    sent_copies,
)
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Targets

Transform: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Orbit:
    """Transforms g of a batch of targets and the chance of each; `name` says which in reports.

    Raises:
        BadPlan: if counts differ, there are none, or chances are no distribution.
    """

    name: str
    transforms: tuple[Transform, ...]
    chances: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.transforms or len(self.transforms) != len(self.chances):
            raise BadPlan(
                f"an orbit needs a chance for each transform, got {len(self.transforms)} "
                f"transforms and {len(self.chances)} chances"
            )
        if min(self.chances) <= 0 or not math.isclose(sum(self.chances), 1, abs_tol=1e-9):
            raise BadPlan(f"chances of transforms must be positive and sum to 1: {self.chances}")

    @staticmethod
    def even(name: str, transforms: Sequence[Transform]) -> "Orbit":
        """Every transform with the same chance."""
        chances = (1 / max(1, len(transforms)),) * len(transforms)
        return Orbit(name, tuple(transforms), chances)

    @staticmethod
    def flips() -> "Orbit":
        """Images (n, c, h, w) and their mirror images."""
        return Orbit.even("horizontal flips", (lambda x: x, lambda x: x.flip(-1)))

    @staticmethod
    def shifts(pixels: float = 0.5) -> "Orbit":
        """Images moved by `pixels` in eight directions or not at all, bilinear, edges repeated."""
        steps = (0.0, -pixels, pixels)
        moves = [(a, b) for a in steps for b in steps]
        return Orbit.even(f"shifts by {pixels:g} pixels", [_shift(a, b) for a, b in moves])

    @staticmethod
    def brightness(factors: Sequence[float] = (0.9, 1.0, 1.1)) -> "Orbit":
        """Images times each factor, clipped to [0, 1]."""
        name = "brightness " + ", ".join(f"{factor:g}" for factor in factors)
        return Orbit.even(name, [_brighten(factor) for factor in factors])


def orbit_bound(
    x: Targets,
    head: Head,
    release: Release,
    rng: Rng,
    *,
    orbit: Orbit,
    invariance: Literal["assumed", "by construction"] = "assumed",
    labels: OtherLabels | None = None,
    galleries: int = 20,
    draws: int = 4,
    sends: int = 1,
    level: float = 0.95,
) -> Quantity:
    """Least mean squared error of any attacker, where images are as likely as their transforms.

    As in `genie_bound`, but the hidden image is g x_I with g drawn by the orbit's chances, and all
    g x_i are in the gallery with weights p(z | g x_i) P(g): more and nearer decoys, hence a bound
    that bites at smaller noise. It holds for images so transformed. That is so by construction
    where the sensor draws g itself, or where the law is known to be invariant; otherwise it is an
    assumption about the images, and the number is one of that model only.

    Args:
        x: targets drawn like the private ones before any transform.
        head: from targets to clean features, in eval mode, one image at a time.
        release: what is done to them; fitted on other images.
        rng: stream of shuffles, transforms and noise.
        orbit: the transforms.
        invariance: "by construction" only where it is.
        labels: give them where the attacker knows the label; transforms must keep it.
        galleries: how many disjoint ones to make, at least 20; memory grows with their size times
            the orbit's.
        draws: transforms and noise draws for each hidden item.
        sends: how many times each image is sent, with one transform.
        level: confidence of the one-sided bound.

    Returns:
        Unit: mse per value. Kind: theorem at confidence, lower, if invariant by construction, else
        model, lower; or the theorem 0 for a release without noise of known law, in words.

    Raises:
        BadData: as `genie_bound`, or if a transform changes the shape of its batch.
        BadPlan: as `genie_bound`.
    """
    check_galleries(galleries, draws, sends, level)
    if labels is not None and len(labels) != len(x):
        raise BadData(f"{len(x)} images, {len(labels)} labels: give one of each")
    noisy = release.dominating()
    if not noisy.has_density:
        return no_bound("mse per value", len(x))
    size = len(x) // galleries
    if size < 2:
        raise BadData(
            f"{galleries} disjoint galleries need at least {2 * galleries} images, got {len(x)}"
        )
    finite(x, "images")
    order = torch.randperm(len(x), generator=rng.child("galleries").torch())
    means = []
    for index, chosen in enumerate(order[: size * galleries].split(size)):
        known = None if labels is None else labels[chosen].cpu()
        stream = rng.child("gallery", index)
        means.append(_gallery(x[chosen], head, noisy, orbit, known, stream, draws, sends))
    bound = max(0.0, one_sided(torch.stack(means), level, Direction.LOWER))
    certain = invariance == "by construction"
    return Quantity(
        value=bound,
        low=bound,
        high=math.inf,
        unit="mse per value",
        kind=Kind.CONFIDENCE if certain else Kind.MODEL,
        n=size * galleries,
        direction=Direction.LOWER,
        level=level,
        assumptions=(
            f"images are as likely as their transforms ({orbit.name}): {invariance}",
            f"means of {galleries} disjoint galleries of {size} are close to normal",
            "private images are drawn like these, independently",
            "the noise is fresh and its law is the stated one",
            f"each image is sent {sends} time{'s' if sends > 1 else ''}",
            "the attacker may know the label" if labels is not None else "the label is not known",
        ),
    )


def _gallery(
    x: Tensor,
    head: Head,
    release: Release,
    orbit: Orbit,
    labels: Tensor | None,
    rng: Rng,
    draws: int,
    sends: int,
) -> Tensor:
    """Mean posterior variance in one gallery with all its transforms."""
    size, chances = len(x), torch.tensor(orbit.chances, dtype=torch.float64)
    moved = [transform(x) for transform in orbit.transforms]
    if any(part.shape != x.shape for part in moved):
        raise BadData(f"a transform of {orbit.name} changes the shape {tuple(x.shape)}")
    members = torch.cat(moved)
    with torch.no_grad():
        features = head(members).flatten(1).cpu()
    finite(features, "features")
    flat, prior = members.flatten(1).cpu(), chances.log().repeat_interleave(size)
    found = []
    for draw in range(draws):
        stream = rng.child(draw)
        taken = torch.multinomial(
            chances, size, replacement=True, generator=stream.child("transform").torch()
        )
        own = taken * size + torch.arange(size)
        sent = sent_copies(release, features[own], stream, 1, sends)
        scores = gallery_scores(release, sent, features) + prior
        if labels is not None:
            others = labels[:, None] != labels.repeat(len(moved))
            scores.masked_fill_(others, -math.inf)
        posterior = GalleryPosterior(flat[own])
        posterior.update(scores, flat, own)
        found.append(posterior.state().variance.mean())
    return torch.stack(found).mean()


def _shift(down: float, right: float) -> Transform:
    def move(x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        turn = torch.tensor(
            [[1.0, 0.0, 2 * right / width], [0.0, 1.0, 2 * down / height]], dtype=x.dtype
        )
        grid = nn.functional.affine_grid(
            turn.to(x.device).expand(len(x), 2, 3), list(x.shape), align_corners=False
        )
        return nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)

    return move


def _brighten(factor: float) -> Transform:
    return lambda x: (factor * x).clamp(0, 1)
