"""Features of which only some are sent."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import UInt8

from splitveil.errors import BadData, BadPlan
from splitveil.release.base import Release, ReleaseRecipe
from splitveil.release.calibration import checked
from splitveil.release.coding import Coder, FloatCoder
from splitveil.shapes import Features


@dataclass(frozen=True)
class SparseCoder(Coder):
    """A bit for each value that says whether it is sent, then `kept` floats, zeros at the end."""

    kept: int

    def rows(self, sent: Features) -> UInt8[np.ndarray, "n b"]:
        there = sent != 0
        most = int(there.sum(1).max()) if len(sent) else 0
        if most > self.kept:
            raise BadData(
                f"features hold {most} values that are not zero, at most {self.kept} were to be "
                "sent: encode what the release sent"
            )
        # a stable sort brings what is there to the front and keeps its order
        order = there.logical_not().to(torch.uint8).argsort(dim=1, stable=True)[:, : self.kept]
        values = FloatCoder().rows(sent.gather(1, order))
        return np.concatenate([np.packbits(there.numpy(), axis=1), values], axis=1)

    def restore(
        self, rows: UInt8[np.ndarray, "n b"], features: int, dtype: torch.dtype
    ) -> Features:
        flags = math.ceil(features / 8)
        if rows.shape[1] != flags + self.kept * dtype.itemsize:
            raise BadData(
                f"payload holds {rows.shape[1]} bytes an image, "
                f"not {flags + self.kept * dtype.itemsize}"
            )
        there = torch.from_numpy(np.unpackbits(rows[:, :flags], axis=1)[:, :features].astype(bool))
        values = FloatCoder().restore(rows[:, flags:], self.kept, dtype)
        filled = torch.arange(self.kept) < there.sum(1, keepdim=True)
        sent = torch.zeros(len(rows), features, dtype=dtype)
        sent[there] = values[filled]
        return sent


@dataclass(frozen=True)
class TopK(Release, ReleaseRecipe):
    """Send the share `keep` of an image's values that are largest in size, zero for the rest.

    Which values are sent tells of the image too; deterministic, so it has no density and nothing is
    guaranteed. An image's own values are compared, never a batch's.

    Raises:
        BadPlan: if keep is not in (0, 1].
    """

    name: ClassVar[str] = "topk"
    keep: float

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise BadPlan(f"keep is a share of the values in (0, 1], got {self.keep}")

    def kept(self, features: int) -> int:
        """How many of `features` values are sent, at least one."""
        return math.ceil(self.keep * features)

    def fit(self, z: Features) -> "TopK":
        checked(z)
        return self

    def __call__(self, z: Features, generator: torch.Generator) -> Features:
        largest = z.abs().topk(self.kept(z.shape[1]), dim=1).indices
        return torch.zeros_like(z).scatter(1, largest, z.gather(1, largest))

    def bits(self, features: int) -> float:
        return min(32.0 * features, features + 32.0 * self.kept(features))

    def coder(self, generator: torch.Generator) -> Coder:
        return _TopKCoder(self)


@dataclass(frozen=True)
class _TopKCoder(Coder):
    """Sparse where that is shorter; the number of values decides, which both ends know."""

    release: TopK

    def _coder(self, features: int) -> Coder:
        dense = self.release.bits(features) >= 32.0 * features
        return FloatCoder() if dense else SparseCoder(self.release.kept(features))

    def rows(self, sent: Features) -> UInt8[np.ndarray, "n b"]:
        return self._coder(sent.shape[1]).rows(sent)

    def restore(
        self, rows: UInt8[np.ndarray, "n b"], features: int, dtype: torch.dtype
    ) -> Features:
        return self._coder(features).restore(rows, features, dtype)


@dataclass(frozen=True)
class Dropout(Release, ReleaseRecipe):
    """Set each value to zero with probability `rate`, anew at every send, without rescaling.

    The kept values are exact: the noise has no density, nothing is guaranteed, and several sends of
    one image fill each other's gaps.

    Raises:
        BadPlan: if rate is not in (0, 1).
    """

    name: ClassVar[str] = "dropout"
    rate: float

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise BadPlan(f"rate is a probability in (0, 1), got {self.rate}")

    def fit(self, z: Features) -> "Dropout":
        checked(z)
        return self

    def __call__(self, z: Features, generator: torch.Generator) -> Features:
        draws = torch.rand(z.shape, generator=generator)
        return torch.where((draws >= self.rate).to(z.device), z, torch.zeros_like(z))

    @property
    def is_random(self) -> bool:
        return True

    def bits(self, features: int) -> float:
        return 32.0 * features
