"""A network of several steps, each shown the slope of the misfit where the last one ended."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Slope = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps corrected guesses, features and class rows to the slope, a constant for autograd."""


class UnrolledInverter(nn.Module):
    """x_{k+1} = x_k + U_k(z, guesses, x_k, slope at x_k, class), from the first guess.

    Each U_k takes features, guesses and two images more, and class rows. Slopes count as constants
    of the training: no second derivative of the head is taken.
    """

    def __init__(self, steps: Sequence[nn.Module], slope: Slope, first: int) -> None:
        nn.Module.__init__(self)
        self.steps = nn.ModuleList(steps)
        self.first = first
        self._slope = slope

    def forward(self, z: Tensor, guesses: Tensor, rows: Tensor) -> Tensor:
        """Map features, guesses (n, guesses * colours, ...) and rows to a correction."""
        best = guesses[:, : self.first]
        moved = torch.zeros_like(best)
        for step in self.steps:
            slope = self._slope((best + moved).detach(), z, rows)
            moved = moved + step(z, torch.cat([guesses, moved, slope], 1), rows)
        return moved
