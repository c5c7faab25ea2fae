"""Finitely many inputs through a finite channel: everything is a sum."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float64
from torch import Tensor

from splitveil.errors import BadInput
from splitveil.rng import Rng


@dataclass(frozen=True, eq=False)
class FiniteAlphabet:
    """X is one of k points, sent as one of m symbols.

    `points` x_i (k, d), `prior` P(x_i) (k), `channel` P(z_j | x_i) (k, m) with rows that sum to 1;
    all float64. Units: nats, and squared input units per dimension.

    Raises:
        BadInput: if shapes do not fit, or prior or channel are no distributions.
    """

    points: Float64[Tensor, "k d"]
    prior: Float64[Tensor, " k"]
    channel: Float64[Tensor, "k m"]

    def __post_init__(self) -> None:
        if not len(self.points) == len(self.prior) == len(self.channel):
            raise BadInput(
                f"{len(self.points)} points, prior of {len(self.prior)}, channel of "
                f"{len(self.channel)} rows: give one of each an input"
            )
        sums = torch.cat([self.channel.sum(1), self.prior.sum()[None]])
        if bool((self.channel < 0).any()) or bool((self.prior <= 0).any()):
            raise BadInput("chances must not be negative, those of the prior not 0 either")
        if not torch.allclose(sums, torch.ones_like(sums), atol=1e-9, rtol=0):
            raise BadInput("the prior and every row of the channel must sum to 1")

    @staticmethod
    def random(
        inputs: int, symbols: int, dimensions: int, rng: Rng, *, step: float = 1 / 255
    ) -> "FiniteAlphabet":
        """Different points on a grid of the given step, uneven prior, channel of varied noise."""
        generator = rng.child("finite alphabet").torch()
        drawn = torch.randint(0, 256, (4 * inputs + 8, dimensions), generator=generator)
        points = torch.unique(drawn, dim=0)
        points = points[torch.randperm(len(points), generator=generator)][:inputs]
        k = len(points)
        sharpness = 4 * float(torch.rand((), generator=generator))
        scores = torch.randn((k, symbols), generator=generator, dtype=torch.float64)
        prior = torch.randn(k, generator=generator, dtype=torch.float64).softmax(0)
        return FiniteAlphabet(step * points.double(), prior, (sharpness * scores).softmax(1))

    @staticmethod
    def folded(period: int, folds: int) -> "FiniteAlphabet":
        """X even on 0 .. period folds - 1, sent as X mod period: many inputs, one symbol.

        I(X; Z) = log period, and the mmse is period² (folds² - 1) / 12.
        """
        k = period * folds
        channel = torch.eye(period, dtype=torch.float64).repeat(folds, 1)
        points = torch.arange(k, dtype=torch.float64)[:, None]
        return FiniteAlphabet(points, torch.full((k,), 1 / k, dtype=torch.float64), channel)

    @cached_property
    def joint(self) -> Float64[Tensor, "k m"]:
        """P(x_i, z_j)."""
        return self.prior[:, None] * self.channel

    @cached_property
    def posterior(self) -> Float64[Tensor, "k m"]:
        """P(x_i | z_j); 0 for symbols that are never sent."""
        sent = self.joint.sum(0)
        return self.joint / sent.where(sent > 0, 1.0)

    @property
    def prior_entropy(self) -> float:
        """H(X)."""
        return -float(torch.xlogy(self.prior, self.prior).sum())

    @property
    def entropy(self) -> float:
        """H(X | Z)."""
        return -float(torch.xlogy(self.joint, self.posterior).sum())

    @property
    def information(self) -> float:
        """I(X; Z) = H(X) - H(X | Z)."""
        return self.prior_entropy - self.entropy

    @property
    def vulnerability(self) -> float:
        """Sum over symbols of max P(x, z): how often the best guesser names the input."""
        return float(self.joint.amax(0).sum())

    @property
    def mmse(self) -> float:
        """E|X - E[X | Z]|² / d."""
        guess = self.posterior.T @ self.points
        apart = (self.points[:, None] - guess).square().sum(2)
        return float((self.joint * apart).sum()) / self.points.shape[1]

    @property
    def chance(self) -> float:
        """How often the input is named by one who sees nothing: the largest prior."""
        return float(self.prior.max())
