"""Pairs of images and features, checked and put in random order."""

import torch
from torch import Tensor

from splitveil.errors import BadData
from splitveil.measures.checks import OtherFeatures, finite
from splitveil.rng import Rng
from splitveil.shapes import Targets


def shuffled_pairs(
    x: Targets, features: OtherFeatures, rng: Rng, *, least: int, most: int
) -> tuple[Tensor, Tensor]:
    """At most `most` pairs in random order, flat and in float64 on the CPU.

    Raises:
        BadData: if counts differ, there are fewer than `least`, or values are not finite.
    """
    if len(x) != len(features):
        raise BadData(f"{len(x)} images, {len(features)} features: give one of each")
    if len(x) < least:
        raise BadData(f"needs at least {least} images, got {len(x)}")
    finite(x, "images")
    finite(features, "features")
    chosen = torch.randperm(len(x), generator=rng.child("pairs").torch())[:most]
    return x[chosen].flatten(1).double().cpu(), features[chosen].double().cpu()
