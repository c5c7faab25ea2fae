"""NWJ: the f-divergence form of mutual information, by a critic."""

from torch import Tensor

from splitveil.measures.checks import OtherFeatures
from splitveil.measures.proxies.critic import Critic, CriticTraining, held_out, off_diagonal
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.shapes import Targets

_TRAINING = CriticTraining()


def _value(scores: Tensor) -> Tensor:
    return 1 + scores.diagonal().mean() - off_diagonal(scores).exp().mean()


def nwj(
    x: Targets, features: OtherFeatures, rng: Rng, *, training: CriticTraining = _TRAINING
) -> Quantity:
    """I(X; Z) by sup over T of 1 + E[T(x, z)] - E[exp T(x, z')], on pairs not trained on.

    Below the truth in the mean, for any critic; but its spread grows like exp(I), and a single
    held-out pair with a large score can throw it far below 0.

    Args:
        x: the images, any number of values each.
        features: what is sent of each.
        rng: stream of the split, the weights and the batches.
        training: how the critic is trained.

    Returns:
        Unit: nat per image. Kind: proxy. Interval: t over 8 held-out blocks, 95 %.

    References:
        Nguyen, Wainwright and Jordan 2010; Poole et al. 2019.

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
        note="Nguyen-Wainwright-Jordan form: its spread grows like exp(I)",
    )
