"""Accuracy, and how much of it is left when every pixel may change a little."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from splitveil.errors import BadData, BadPlan
from splitveil.measures import share_of
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.shapes import Images, Labels

SMALL = (0.0005, 0.002, 0.01)
"""Half a thousandth, two thousandths and a hundredth of the range of a pixel."""
_BATCH = 256


def robust_accuracy(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    rng: Rng,
    radii: Sequence[float] = SMALL,
    steps: int = 10,
    device: str = "cpu",
) -> dict[float, Quantity]:
    """Share of images that stay right under every step of PGD within ±radius a pixel, and at 0.

    Sign steps of 2.5 · radius / steps up the cross-entropy from a random start, in [0, 1]; an image
    that falls at one radius is counted as fallen at every larger one. An upper estimate: a stronger
    search finds more. Models whose features leak less tend to have less of it, so give it beside
    every figure of an attack. Exact binomial intervals. Unit: share. Kind: measured.

    References: Madry et al. 2018.

    Returns:
        A quantity for each radius, 0 first: the natural accuracy.

    Raises:
        BadData: if there are no images, or not one label each.
        BadPlan: if a radius or the number of steps is not positive.
    """
    ordered = sorted(radii)
    standing = standing_images(model, x, y, rng=rng, radii=ordered, steps=steps, device=device)
    return {radius: share_of(hits) for radius, hits in zip((0.0, *ordered), standing, strict=True)}


def standing_images(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    rng: Rng,
    radii: Sequence[float] = SMALL,
    steps: int = 10,
    device: str = "cpu",
) -> Bool[Tensor, "radii n"]:
    """Which images stay right, (1 + radii, n), those as they are first; see `robust_accuracy`.

    Raises:
        BadData: if there are no images, or not one label each.
        BadPlan: if a radius or the number of steps is not positive.
    """
    if not len(x) or len(x) != len(y):
        raise BadData(f"{len(x)} images and {len(y)} labels: give one label an image")
    if steps < 1 or not all(0 < radius < 1 for radius in radii):
        raise BadPlan(f"radii lie in (0, 1) and steps are at least 1, got {radii} and {steps}")
    network = deepcopy(model).to(device).eval().requires_grad_(requires_grad=False)
    ordered = sorted(radii)
    standing = torch.zeros(len(ordered) + 1, len(x), dtype=torch.bool)
    for start in range(0, len(x), _BATCH):
        rows = slice(start, start + _BATCH)
        images, labels = x[rows].to(device), y[rows].to(device)
        with torch.no_grad():
            right = network(images).argmax(1) == labels
        standing[0, rows] = right.cpu()
        for place, radius in enumerate(ordered, start=1):
            draws = rng.child(radius, start).torch()
            right &= _stands(network, images, labels, radius, steps, draws)
            standing[place, rows] = right.cpu()
    return standing


def _stands(
    network: nn.Module, x: Tensor, y: Tensor, radius: float, steps: int, draws: torch.Generator
) -> Tensor:
    """Whether no step found a wrong answer."""
    noise = torch.rand(x.shape, generator=draws).to(x)
    moved = (x + radius * (2 * noise - 1)).clamp(0, 1)
    stands = torch.ones_like(y, dtype=torch.bool)
    for step in range(steps + 1):
        point = moved.detach().requires_grad_()
        logits = network(point)
        stands &= logits.argmax(1) == y
        if step == steps:
            break
        (slope,) = torch.autograd.grad(cross_entropy(logits, y, reduction="sum"), point)
        moved = moved + 2.5 * radius / steps * slope.sign()
        moved = torch.minimum(torch.maximum(moved, x - radius), x + radius).clamp(0, 1)
    return stands
