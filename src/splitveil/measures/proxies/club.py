"""CLUB: mutual information by a trained Gaussian channel."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splitveil.measures.checks import OtherFeatures
from splitveil.measures.proxies.critic import CriticTraining, held_out, off_diagonal, silence, tower
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.shapes import Targets

_TRAINING = CriticTraining()


class Channel(nn.Module):
    """Log q(z | x) for all pairs, q a Gaussian with trained means and variances."""

    def __init__(self, values: int, features: int, width: int) -> None:
        nn.Module.__init__(self)
        self.mean = tower(values, width, features)
        self.log_precision = tower(values, width, features)
        silence(self.mean, slice(None))
        silence(self.log_precision, slice(None))

    def forward(self, x: Float[Tensor, "b d"], z: Float[Tensor, "b2 f"]) -> Tensor:
        """Log densities, up to a constant, of every z (columns) given every x (rows)."""
        mean = self.mean(x)
        logs = 6 * torch.tanh(self.log_precision(x) / 6)
        weight = logs.exp()
        squares = weight @ z.square().T - 2 * (weight * mean) @ z.T
        return 0.5 * (logs - weight * mean.square()).sum(1, keepdim=True) - 0.5 * squares


def _value(scores: Tensor) -> Tensor:
    return scores.diagonal().mean() - off_diagonal(scores).mean()


def club(
    x: Targets, features: OtherFeatures, rng: Rng, *, training: CriticTraining = _TRAINING
) -> Quantity:
    """I(X; Z) by E[log q(z | x)] - E[log q(z' | x)], q a trained Gaussian, on pairs not trained on.

    With the true p(z | x) in place of q it lies above the truth, and far above where the channel
    is quiet: d rho² / (1 - rho²) for d pairs of normals, whose information is -d/2 log(1 - rho²).
    With a trained q it errs to either side.

    Args:
        x: the images, any number of values each.
        features: what is sent of each.
        rng: stream of the split, the weights and the batches.
        training: how the channel is trained.

    Returns:
        Unit: nat per image. Kind: proxy. Interval: t over 8 held-out blocks, 95 %.

    References:
        Cheng et al. 2020.

    Raises:
        BadData: if counts differ, there are fewer than 400 images, or values are not finite.
    """
    return held_out(
        x,
        features,
        lambda d, f: Channel(d, f, training.width),
        lambda scores: -scores.diagonal().mean(),
        _value,
        rng,
        training=training,
        note="a trained channel stands for the true one: errs to either side",
    )
