"""Ridge regression along its whole penalty path from one eigendecomposition."""

from dataclasses import dataclass

import torch
from scipy.linalg import eigh
from torch import Tensor


def eigenpairs(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors in columns of a symmetric float64 matrix (m, m).

    On the CPU by LAPACK's relatively robust representations, at half of torch's time.
    """
    if matrix.device.type != "cpu":
        values, vectors = torch.linalg.eigh(matrix)
        return values, vectors
    found = eigh(matrix.numpy(), driver="evr", check_finite=False)
    return torch.from_numpy(found[0]), torch.from_numpy(found[1])


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues of a Gram matrix and what each direction explains of the targets.

    `values` (m,) are eigenvalues s_i >= 0 and `energy` (m,) is r_i = ||u_iᵀX||², summed over
    target values; `total` is ||X||²; `freedom` is the number of rows less the means removed.
    All float64.
    """

    values: Tensor
    energy: Tensor
    total: float
    freedom: float

    def grid(self, size: int) -> Tensor:
        """`size` penalties from 1e-10 to 10 times the largest eigenvalue, evenly in the log."""
        top = max(float(self.values.max()), 1e-200)
        ratios = torch.logspace(-10, 1, size, dtype=torch.float64, device=self.values.device)
        return top * ratios

    def generalised_cross_validation(self, penalties: Tensor) -> Tensor:
        """Freedom · ||(I - H)X||² / (freedom - tr H)² for each penalty, in input² total.

        Golub, Heath & Wahba (1979). Infinite where no degree of freedom is left.
        """
        shrink = penalties[:, None] / (self.values + penalties[:, None])
        unexplained = max(self.total - float(self.energy.sum()), 0.0)
        residual = shrink.square() @ self.energy + unexplained
        left = self.freedom - (1 - shrink).sum(1)
        score = self.freedom * residual / left.square()
        return torch.where(left > 1e-3 * self.freedom, score, torch.inf)

    def best_penalty(self, size: int) -> float:
        """The penalty on the grid with the least generalised cross-validation error."""
        penalties = self.grid(size)
        return float(penalties[self.generalised_cross_validation(penalties).argmin()])
