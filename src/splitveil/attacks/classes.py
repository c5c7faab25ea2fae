"""What knowing the label gives: class means, with the overall mean for an unseen class."""

from dataclasses import dataclass

import torch
from torch import Tensor

from splitveil.shapes import Labels

_COLUMNS = 1024


@dataclass(frozen=True, eq=False)
class Classes:
    """The labels an attacker has examples of, sorted; empty where it knows no labels.

    Row r of every table of means belongs to `seen[r]`; the last row belongs to no class and
    serves images whose class has no example, or whose label is unknown.
    """

    seen: Tensor

    @staticmethod
    def of(y: Labels | None) -> "Classes":
        """The distinct labels of `y`."""
        return Classes(torch.empty(0, dtype=torch.int64) if y is None else torch.unique(y))

    def rows(self, y: Labels | None, n: int) -> Tensor:
        """The table row of each of `n` images: its class, or the last row."""
        count = len(self.seen)
        if y is None or count == 0:
            return torch.full((n,), count, device=self.seen.device)
        rows = torch.searchsorted(self.seen, y.contiguous()).clamp(max=count - 1)
        return torch.where(self.seen[rows] == y, rows, count)

    def means(self, values: Tensor, rows: Tensor) -> Tensor:
        """Class means of `values` (n, f), then their overall mean: shape (classes + 1, f).

        Sums run in float64 over feature chunks; the result has the type of `values`.
        """
        table = values.new_empty(len(self.seen) + 1, values.shape[1])
        counts = torch.bincount(rows, minlength=len(table)).double().clamp(min=1)[:, None]
        for out, chunk in zip(table.split(_COLUMNS, 1), values.split(_COLUMNS, 1), strict=True):
            chunk = chunk.double()
            sums = chunk.new_zeros(len(table), chunk.shape[1]).index_add_(0, rows, chunk)
            out.copy_(sums / counts)
            out[-1] = chunk.mean(0)
        return table
