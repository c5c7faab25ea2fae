"""A uniform sample of a stream, the same whatever its order or division."""

import torch
from jaxtyping import Int64
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.estimators.moments import mixed
from splitveil.shapes import Features, Labels

_SALT = 0x5851F42D4C957F2D


class Reservoir:
    """Keeps the rows of the `size` ids whose hashes are least: a uniform sample of distinct ids.

    Order and batching change nothing, and merged reservoirs equal one. Memory is `size` rows.

    Args:
        size: rows kept at most.

    Raises:
        BadPlan: if size is not positive.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise BadPlan(f"a reservoir keeps at least 1 row, got {size}")
        self.size = size
        self._rank = torch.zeros(0, dtype=torch.int64)
        self._kept: tuple[Tensor, Tensor, Tensor] | None = None

    @torch.no_grad()
    def update(self, z: Features, y: Labels | None, ids: Int64[Tensor, " n"]) -> None:
        """Take in a batch; rows that rank too late are not copied.

        Raises:
            BadData: if there are not as many labels and ids as rows.
        """
        if len(ids) != len(z) or (y is not None and len(y) != len(z)):
            raise BadData(f"{len(z)} rows need as many ids and labels, got {len(ids)} ids")
        labels = torch.zeros(len(z), dtype=torch.int64) if y is None else y.cpu()
        rank = torch.from_numpy((mixed(ids.cpu() ^ _SALT) >> 1).astype("int64"))
        full = len(self._rank) == self.size
        near = rank < int(self._rank[-1]) if full else torch.ones_like(rank, dtype=torch.bool)
        if bool(near.any()):
            rows = z.detach().cpu()[near]
            self._take(rank[near], rows, labels[near], ids.cpu()[near])

    def merge(self, other: "Reservoir") -> None:
        """Take in what `other` kept.

        Raises:
            BadPlan: if the two keep different numbers of rows.
        """
        if self.size != other.size:
            raise BadPlan(f"reservoirs of {self.size} and {other.size} rows do not merge")
        if other._kept is not None:
            self._take(other._rank, *other._kept)

    def _take(self, rank: Tensor, z: Tensor, y: Tensor, ids: Tensor) -> None:
        if self._kept is not None:
            z, y, ids = (torch.cat(pair) for pair in zip(self._kept, (z, y, ids), strict=True))
        rank = torch.cat([self._rank, rank])
        order = rank.argsort(stable=True)[: self.size]
        self._rank = rank[order]
        self._kept = (z[order], y[order], ids[order])

    def sample(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows (m, f), labels and ids, in an order that depends on ids alone.

        Raises:
            BadData: if nothing has been seen.
        """
        if self._kept is None:
            raise BadData("nothing has been seen, so there is nothing to sample")
        return self._kept
