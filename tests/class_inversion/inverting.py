"""Small models, priors and doors that the tests of class inversion share."""

import torch
from torch import Tensor, nn

from splitveil.class_inversion import Access, Prior
from splitveil.rng import Rng

SHAPE = (1, 4, 4)
LATENT = 16


class Identity(nn.Module):
    """The latent is the image: pixels are sigmoid(latent)."""

    def __init__(self, *, scale: float = 1.0) -> None:
        nn.Module.__init__(self)
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, 16) to (n, 1, 4, 4)."""
        return (self.scale * z).sigmoid().view(-1, *SHAPE)


def prior(critic: nn.Module | None = None) -> Prior:
    return Prior(name="pixels", generator=Identity(), latent=LATENT, shape=SHAPE, critic=critic)


def linear(classes: int = 3, seed: int = 0) -> nn.Module:
    """Logits linear in the pixels about grey, so that no class is favoured."""
    with Rng(seed).as_global():
        return nn.Sequential(nn.Flatten(), _about_grey(nn.Linear(16, classes)))


def two_layers(classes: int = 6, seed: int = 0) -> nn.Module:
    with Rng(seed).as_global():
        hidden, last = _about_grey(nn.Linear(16, 12)), nn.Linear(12, classes)
        last.weight.data *= 4
        last.bias.data.zero_()
        return nn.Sequential(nn.Flatten(), hidden, nn.Tanh(), nn.Dropout(0.5), last)


def _about_grey(layer: nn.Linear) -> nn.Linear:
    with torch.no_grad():
        layer.weight *= 6
        layer.bias.copy_(-layer.weight.sum(1) / 2)
    return layer


def door(level: str = "white", *, budget: int | None = None, classes: int = 6) -> Access:
    return Access(two_layers(classes), level, budget=budget)  # type: ignore[arg-type]
