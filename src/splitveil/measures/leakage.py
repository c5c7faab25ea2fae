"""The headline: how much of what tells an image from others of its class an attack recovered."""

import math

import torch

from splitveil.errors import BadData
from splitveil.estimators.bootstrap import ratio_interval
from splitveil.estimators.order_statistics import quantile_interval
from splitveil.measures.checks import OtherPerImage, finite
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.shapes import PerImage


def leakage(
    attack_errors: PerImage, floor_errors: OtherPerImage, rng: Rng, *, floor: str = "class mean"
) -> Quantity:
    """L = 1 - mean(attack error) / mean(floor error), clipped to [0, 1].

    0: the attack told nothing beyond the floor; 1: every image came back whole. It is the R² of
    the attack against the floor. The interval resamples images in pairs (BCa bootstrap, 95 %) and
    holds for this attack on such images: another attack may recover more.

    Args:
        attack_errors: mean squared error of the attack on each image.
        floor_errors: that of the trivial answer on the same images in the same order: the mean of
            the image's class, or without labels the mean image.
        rng: stream of the resamples.
        floor: what the trivial answer was, in words.

    Returns:
        Unit: share of the floor's error. Kind: measured.

    Example:
        >>> import torch
        >>> from splitveil.rng import Rng
        >>> floor = torch.full((100,), 0.04)
        >>> print(leakage(0.25 * floor, floor, Rng(0)))
        0.75 share

    Raises:
        BadData: if there are no images, counts differ, errors are negative or not finite, or the
            floor makes no error at all.
    """
    _check(attack_errors, floor_errors, floor)
    top, bottom = (e.detach().double().cpu().numpy() for e in (attack_errors, floor_errors))
    if len(top) == 1:
        value, low, high = 1 - float(top[0] / bottom[0]), -math.inf, 1.0
    else:
        ratio = ratio_interval(top, bottom, rng)
        value, low, high = 1 - ratio.value, 1 - ratio.high, 1 - ratio.low
    return Quantity(
        value=min(1.0, max(0.0, value)),
        low=min(1.0, max(0.0, low)),
        high=min(1.0, max(0.0, high)),
        unit="share",
        kind=Kind.MEASURED,
        n=len(top),
        assumptions=_assumptions(floor),
    )


def tail_leakage(
    attack_errors: PerImage,
    floor_errors: OtherPerImage,
    *,
    share: float = 0.01,
    floor: str = "class mean",
) -> Quantity:
    """What at least `share` of the images lose: a quantile of 1 - attack / floor image by image.

    A mean hides the few images that come back whole. The interval is made of order statistics
    (binomial, 95 %), so it assumes nothing about the errors' law; where there are too few images
    for an upper end it is 1. Images that equal the floor are left out: nothing tells them apart.

    Returns:
        Unit: share of the floor's error. Kind: measured.

    Raises:
        BadData: as `leakage`, or if `share` is not in (0, 1).
    """
    _check(attack_errors, floor_errors, floor)
    if not 0 < share < 1:
        raise BadData(f"the tail's share must lie in (0, 1), got {share}")
    keep = floor_errors > 0
    ratio = attack_errors[keep].double() / floor_errors[keep].double()
    lost = (1 - ratio).clamp(0, 1).cpu().numpy()
    interval = quantile_interval(lost, 1 - share, support=(0.0, 1.0))
    return Quantity(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        unit="share",
        kind=Kind.MEASURED,
        n=len(lost),
        assumptions=(*_assumptions(floor), f"exceeded by {share:.3g} of images"),
    )


def _assumptions(floor: str) -> tuple[str, ...]:
    return (
        "images are independent draws",
        f"measured against the {floor}",
        "holds for the attack tried; another may recover more",
    )


def _check(attack_errors: PerImage, floor_errors: OtherPerImage, floor: str) -> None:
    if len(attack_errors) != len(floor_errors) or not len(attack_errors):
        raise BadData(
            f"{len(attack_errors)} attack errors, {len(floor_errors)} floor errors: "
            "give both for the same images, at least one"
        )
    finite(attack_errors, "attack errors")
    finite(floor_errors, "floor errors")
    if bool((attack_errors < 0).any()) or bool((floor_errors < 0).any()):
        raise BadData("errors are squared distances and cannot be negative")
    if not bool(torch.any(floor_errors > 0)):
        raise BadData(
            f"the {floor} reproduces every image, so nothing tells them apart: "
            "leakage needs at least two different images in a class"
        )
