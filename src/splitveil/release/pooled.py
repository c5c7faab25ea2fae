"""One of a few noise tensors, drawn in secret at every send."""

from dataclasses import dataclass

import torch
from torch import Tensor

from splitveil.release.base import Release
from splitveil.shapes import Features


@dataclass(frozen=True, eq=False)
class PooledNoise(Release):
    """Send z + e_j, j uniform over the rows of `pool` (m, f), drawn anew for every image.

    Given z what is sent takes m values, so it has no density and hides at most ln m nats.
    """

    pool: Tensor

    def __call__(self, z: Features, generator: torch.Generator) -> Features:
        rows = torch.randint(len(self.pool), (len(z),), generator=generator)
        return z + self.pool.to(z.device, z.dtype)[rows.to(z.device)]

    @property
    def is_random(self) -> bool:
        return True

    def bits(self, features: int) -> float:
        return 32.0 * features

    def __repr__(self) -> str:
        return f"PooledNoise(pool={tuple(self.pool.shape)})"
