"""MINE: the Donsker-Varadhan form of mutual information, by a critic."""

import math

from torch import Tensor

from splitveil.measures.checks import OtherFeatures
from splitveil.measures.proxies.critic import Critic, CriticTraining, held_out, off_diagonal
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.shapes import Targets

_TRAINING = CriticTraining()


def _value(scores: Tensor) -> Tensor:
    others = off_diagonal(scores)
    return scores.diagonal().mean() - others.logsumexp(0) + math.log(len(others))


def mine(
    x: Targets, features: OtherFeatures, rng: Rng, *, training: CriticTraining = _TRAINING
) -> Quantity:
    """I(X; Z) by sup over T of E[T(x, z)] - log E[exp T(x, z')], on pairs not trained on.

    In the population it lies below the truth; on samples the logarithm of a mean is biased, and its
    spread grows like exp(I), so large information is out of reach.

    Args:
        x: the images, any number of values each.
        features: what is sent of each.
        rng: stream of the split, the weights and the batches.
        training: how the critic is trained.

    Returns:
        Unit: nat per image. Kind: proxy. Interval: t over 8 held-out blocks, 95 %.

    References:
        Belghazi et al. 2018; Donsker and Varadhan 1983.

    Raises:
        BadData: if counts differ, there are fewer than 400 images, or values are not finite.
    """
    return held_out(
        x,
        features,
        lambda d, f: Critic(d, f, training.width),
        lambda scores: -_value(scores),
        _value,
        rng,
        training=training,
        note="Donsker-Varadhan form: its spread grows like exp(I)",
    )
