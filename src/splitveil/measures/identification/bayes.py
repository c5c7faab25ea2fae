"""How often any attacker can name the hidden image among N."""

import torch

from splitveil.measures.checks import OtherLabels
from splitveil.measures.galleries import NO_GUARANTEE
from splitveil.measures.genie import genie_curve
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Features


def bayes_identification(
    features: Features,
    release: Release,
    rng: Rng,
    *,
    labels: OtherLabels | None = None,
    galleries: int = 20,
    draws: int = 4,
    sends: int = 1,
    level: float = 0.95,
) -> Quantity:
    """E max_i w_i >= the share of hidden images any attacker names, in galleries of N.

    w_i ~ p(z | x_i) is the exact posterior of an even choice among N = images / `galleries`. An
    attack above it by more than its own error is a fault of the harness.

    Args:
        features: clean features of images drawn like the private ones.
        release: what is done to them; fitted on other images.
        rng: stream of galleries and noise.
        labels: give them where the attacker knows the label.
        galleries: how many disjoint ones to make, at least 20.
        draws: noise draws for each hidden item.
        sends: how many times each image is sent.
        level: confidence of the one-sided bound.

    Returns:
        Unit: share. Kind: theorem at confidence, upper; or the theorem 1 for a release without
        noise of known law, in words.

    Raises:
        BadData: as `genie_bound`.
        BadPlan: as `genie_bound`.
    """
    if not release.dominating().has_density:
        return Quantity.exact(
            1.0,
            unit="share",
            kind=Kind.THEOREM,
            n=len(features),
            direction=Direction.UPPER,
            assumptions=(NO_GUARANTEE,),
        )
    return genie_curve(
        torch.zeros(len(features), 1),
        features,
        release,
        rng,
        labels=labels,
        galleries=galleries,
        draws=draws,
        sends=sends,
        level=level,
    )[-1].identification
