"""Judges an image as one of several classes, or as none: its features and class logits."""

import torch
from torch import Tensor, nn

from splitveil.nets.critic import Critic


class ClassCritic(nn.Module):
    """The layers of `Critic`, then one logit a class; what is before that are its features."""

    def __init__(self, shape: tuple[int, ...], classes: int, *, width: int) -> None:
        nn.Module.__init__(self)
        self.layers = Critic(shape, width=width).layers
        with torch.no_grad():
            size = self.layers(torch.zeros(1, *shape)).shape[1]
        self.out = nn.Linear(size, classes)

    def features(self, x: Tensor) -> Tensor:
        """Map images (n, c, h, w) to (n, f)."""
        found: Tensor = self.layers(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, c, h, w) to (n, classes)."""
        found: Tensor = self.out(self.layers(x))
        return found
