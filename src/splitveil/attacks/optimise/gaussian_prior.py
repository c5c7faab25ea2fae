"""A Gaussian prior of the targets from the attacker's own: shrunk covariance, any dimension."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from splitveil.attacks.classes import Classes
from splitveil.attacks.spectrum import eigenpairs

_RANK = 1024
_LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class GaussianPrior:
    """½ (x - m_y)ᵀ C⁻¹ (x - m_y) in nats, C = V diag(v) Vᵀ + u (I - V Vᵀ).

    `means` (rows, d) by label row; `directions` V (d, k); `gains` 1/v - 1/u (k,); `rest` 1/u.
    """

    means: Tensor
    directions: Tensor
    gains: Tensor
    rest: float

    @staticmethod
    def fit(x: Tensor, rows: Tensor, classes: Classes) -> "GaussianPrior":
        """Class means and one covariance within classes of x (n, d), shrunk to a multiple of I.

        The shrinkage is Ledoit and Wolf's (2004); it vanishes as n grows. Directions beyond the
        1024 of largest variance share their mean variance.
        """
        means = classes.means(x, rows)
        centred = (x - means[rows]).double()
        n, d = centred.shape
        wide = n < d
        gram = centred @ centred.T if wide else centred.T @ centred
        values, vectors = eigenpairs(gram / n)
        values = values.clamp(min=0)
        kept = values > values.max().clamp(min=1e-30) * 1e-12
        kept[: max(0, len(values) - _RANK)] = False
        kept_values = values[kept]
        directions = vectors[:, kept]
        if wide:
            directions = centred.T @ (directions / (n * kept_values).sqrt())
        total = float(values.sum())
        mean = total / d
        apart = float(values.square().sum()) / d - mean**2
        fourth = float(centred.square().sum(1).square().sum()) / (n**2 * d)
        noise = fourth - float(values.square().sum()) / (n * d)
        share = min(1.0, max(0.0, noise / apart)) if apart > 0 else 1.0
        floor = max(_LEAST * mean, 1e-12)
        left = max(d - len(kept_values), 1)
        rest = (1 - share) * max(total - float(kept_values.sum()), 0.0) / left + share * mean
        rest = max(rest, floor)
        variances = ((1 - share) * kept_values + share * mean).clamp(min=floor)
        gains = 1 / variances - 1 / rest
        return GaussianPrior(means, directions.float(), gains.float(), 1 / rest)

    def __call__(self, x: Tensor, rows: Tensor) -> Tensor:
        """Nats (b,) of targets x (b, d) with label rows (b,), up to a constant."""
        offset = x - self.means[rows]
        along = offset @ self.directions
        return 0.5 * (self.rest * offset.square().sum(1) + along.square() @ self.gains)

    def to(self, dtype: torch.dtype) -> "GaussianPrior":
        """The same in another floating type."""
        return replace(
            self,
            means=self.means.to(dtype),
            directions=self.directions.to(dtype),
            gains=self.gains.to(dtype),
        )
