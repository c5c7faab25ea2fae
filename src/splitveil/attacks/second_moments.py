"""Within-class second moments of features and targets, from batches seen once."""

import torch
from torch import Tensor


class SecondMoments:
    """Running float64 sums of z (n, f) and x (n, d) by label row, and of ZᵀZ, ZᵀX and ‖X‖².

    Sums are taken about the first batch's mean, so that centring them afterwards cancels little:
    Σ (z - z̄_y)(z - z̄_y)ᵀ = Σ z zᵀ - Σ_y n_y z̄_y z̄_yᵀ.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._ready = False
        self.count = 0

    def update(self, z: Tensor, x: Tensor, rows: Tensor) -> None:
        """Take in a batch with the label row of each of its members."""
        z, x = z.double(), x.double()
        if not self._ready:
            self._start(z, x)
        z, x = z - self._z_shift, x - self._x_shift
        self._gram.addmm_(z.T, z)
        self._cross.addmm_(z.T, x)
        self._total += float(x.square().sum())
        self._z_sums.index_add_(0, rows, z)
        self._x_sums.index_add_(0, rows, x)
        self._counts += torch.bincount(rows, minlength=self._rows)
        self.count += len(z)

    def _start(self, z: Tensor, x: Tensor) -> None:
        self._z_shift, self._x_shift = z.mean(0), x.mean(0)
        f, d = z.shape[1], x.shape[1]
        self._gram, self._cross = z.new_zeros(f, f), z.new_zeros(f, d)
        self._z_sums, self._x_sums = z.new_zeros(self._rows, f), z.new_zeros(self._rows, d)
        self._counts = z.new_zeros(self._rows)
        self._total = 0.0
        self._ready = True

    def within(self) -> tuple[Tensor, Tensor, float]:
        """ZᵀZ (f, f), ZᵀX (f, d) and ‖X‖² of class-centred data, float64."""
        per = 1 / self._counts.clamp(min=1)[:, None]
        gram = self._gram - (self._z_sums * per).T @ self._z_sums
        cross = self._cross - (self._z_sums * per).T @ self._x_sums
        return gram, cross, self._total - float((self._x_sums.square() * per).sum())

    def means(self) -> tuple[Tensor, Tensor]:
        """Means of z and x by label row, float32; overall means in the last and in empty rows."""
        seen = self._counts > 0
        seen[-1] = False
        z = self._mean(self._z_sums, seen) + self._z_shift
        x = self._mean(self._x_sums, seen) + self._x_shift
        return z.float(), x.float()

    def _mean(self, sums: Tensor, seen: Tensor) -> Tensor:
        own = sums / self._counts.clamp(min=1)[:, None]
        return torch.where(seen[:, None], own, sums.sum(0) / self.count)
