"""Random ReLU features: no closed form, but a least error between two particle averages."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from scipy import stats
from torch import Tensor, nn

from splitveil.errors import BadInput
from splitveil.quantities import Kind, Quantity
from splitveil.release.gaussian import ClippedGaussian
from splitveil.rng import Rng

_BATCHES = 20


@dataclass(frozen=True, eq=False)
class RandomReLU:
    """X ~ N(0, I) in d <= 6 dimensions, sent as Z = relu(W X) + s E in f of them.

    `matrix` W (f, d), float64. Each unit is on half of the time whatever the others do, so
    E[J_X] = Wᵀ W / (2 s²) exactly. With f >= 4 d the noiseless features nearly always fix X.
    Units: nats, and squared input units per dimension.

    Raises:
        BadInput: if there are more than 6 dimensions, which particles do not fill, or no noise.
    """

    matrix: Float64[Tensor, "f d"]
    sigma: float

    def __post_init__(self) -> None:
        if not 1 <= self.matrix.shape[1] <= 6 or not 0 < self.sigma < math.inf:
            raise BadInput(
                f"particles fill 1 to 6 dimensions behind positive noise, got "
                f"{self.matrix.shape[1]} and {self.sigma}"
            )

    @staticmethod
    def random(dimensions: int, features: int, rng: Rng, *, sigma: float = 0.5) -> "RandomReLU":
        """Weights N(0, 2 / d), so that features have unit power."""
        generator = rng.child("random relu").torch()
        drawn = torch.randn(features, dimensions, generator=generator, dtype=torch.float64)
        return RandomReLU(drawn * math.sqrt(2 / dimensions), sigma)

    @property
    def dimensions(self) -> int:
        """The number d of input values."""
        return self.matrix.shape[1]

    @property
    def van_trees(self) -> float:
        """Tr (Wᵀ W / (2 s²) + I)⁻¹ / d <= mmse: the prior's own information is I."""
        fisher = self.matrix.T @ self.matrix / (2 * self.sigma**2)
        eye = torch.eye(self.dimensions, dtype=torch.float64)
        return float(torch.linalg.inv(fisher + eye).trace()) / self.dimensions

    def head(self, x: Float64[Tensor, "n d"]) -> Float64[Tensor, "n f"]:
        """The clean features; differentiable almost everywhere."""
        return nn.functional.relu(x @ self.matrix.T.to(x.dtype))

    def release(self) -> ClippedGaussian:
        """The noise alone."""
        return ClippedGaussian(self.matrix.new_zeros(len(self.matrix)), math.inf, self.sigma)

    def targets(self, n: int, rng: Rng) -> Float64[Tensor, "n d"]:
        """Independent draws of X."""
        generator = rng.child("targets").torch()
        return torch.randn(n, self.dimensions, generator=generator, dtype=torch.float64)

    def error_between(
        self, rng: Rng, *, sends: int = 640, particles: int = 4000
    ) -> tuple[Quantity, Quantity]:
        """Two averages with the least error between their means.

        The posterior over fresh particles and the truth is that of an attacker who holds them all:
        its error lies below. The particles' own posterior mean is an attack: its error lies above.
        Both close in as particles grow. Intervals: t over 20 independent sets of particles, 99.9 %
        one-sided.
        """
        below, above = [], []
        for batch in range(_BATCHES):
            stream = rng.child("particles", batch)
            x = self.targets(-(-sends // _BATCHES), stream.child("private"))
            z = self.release()(self.head(x), stream.child("noise").torch())
            drawn = self.targets(particles, stream)
            scores = self.release().pairwise_log_prob(z, self.head(drawn))
            own = self.release().log_prob(z, self.head(x))
            weights = torch.cat([own[:, None], scores], 1).softmax(1)
            apart = drawn - x[:, None]
            shift = (weights[:, 1:, None] * apart).sum(1)
            second = (weights[:, 1:, None] * apart.square()).sum(1)
            below.append(float((second - shift.square()).mean()))
            above.append(float((scores.softmax(1) @ drawn - x).square().mean()))
        return _mean(below, "mse per value"), _mean(above, "mse per value")

    def information_between(
        self, rng: Rng, *, sends: int = 640, particles: int = 4000
    ) -> tuple[Quantity, Quantity]:
        """Two averages with I(X; Z) between their means, by log ratios to the particles' mixture.

        With the truth among the particles the mixture is too large in the mean and the ratio too
        small; without it the other way round (Jensen).
        """
        below, above = [], []
        for batch in range(_BATCHES):
            stream = rng.child("particles", batch)
            x = self.targets(-(-sends // _BATCHES), stream.child("private"))
            z = self.release()(self.head(x), stream.child("noise").torch())
            own = self.release().log_prob(z, self.head(x))
            drawn = self.head(self.targets(particles, stream))
            mixed = self.release().pairwise_log_prob(z, drawn).logsumexp(1)
            above.append(float((own - mixed).mean()) + math.log(particles))
            both = torch.logaddexp(mixed, own)
            below.append(float((own - both).mean()) + math.log(particles + 1))
        return _mean(below, "nat per image"), _mean(above, "nat per image")


def _mean(values: list[float], unit: str) -> Quantity:
    found = torch.tensor(values, dtype=torch.float64)
    reach = float(stats.t.ppf(0.999, len(values) - 1) * found.std()) / math.sqrt(len(values))
    return Quantity(
        value=float(found.mean()),
        low=float(found.mean()) - reach,
        high=float(found.mean()) + reach,
        unit=unit,
        kind=Kind.MEASURED,
        n=len(values),
        level=0.999,
        assumptions=("independent sets of particles",),
    )
