"""InfoNCE: mutual information by naming the right partner among a block."""

import math

from torch import Tensor

from splitveil.measures.checks import OtherFeatures
from splitveil.measures.proxies.critic import Critic, CriticTraining, held_out
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.shapes import Targets

_TRAINING = CriticTraining()


def _value(scores: Tensor) -> Tensor:
    return (scores.diagonal() - scores.logsumexp(1)).mean() + math.log(len(scores))


def info_nce(
    x: Targets, features: OtherFeatures, rng: Rng, *, training: CriticTraining = _TRAINING
) -> Quantity:
    """I(X; Z) by E[log(exp T(x_i, z_i) / mean_j exp T(x_i, z_j))], on pairs not trained on.

    Steady, but never above log K for held-out blocks of K = images / 20 pairs: a value near that
    says that I is at least so large and no more.

    Args:
        x: the images, any number of values each.
        features: what is sent of each.
        rng: stream of the split, the weights and the batches.
        training: how the critic is trained.

    Returns:
        Unit: nat per image. Kind: proxy. Interval: t over 8 held-out blocks, 95 %.

    References:
        van den Oord et al. 2018; Poole et al. 2019.

    Raises:
        BadData: if counts differ, there are fewer than 400 images, or values are not finite.
    """
    block = max(1, len(x) // 20)
    return held_out(
        x,
        features,
        lambda d, f: Critic(d, f, training.width),
        lambda scores: -_value(scores),
        _value,
        rng,
        training=training,
        note=f"contrastive form: never above log {block} = {math.log(block):.2f}",
    )
