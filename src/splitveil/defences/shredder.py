"""A few noise tensors learnt for the network, one drawn in secret at every send."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from splitveil.defences.base import Batch, Component, Part, Setting, TrainedRelease, written
from splitveil.errors import BadPlan
from splitveil.release import PooledNoise, ReleaseRecipe
from splitveil.release.calibration import checked
from splitveil.shapes import Features


@dataclass(frozen=True, eq=False)
class _Learnt(ReleaseRecipe):
    """The pool as it stands, in units of the features' RMS."""

    name: ClassVar[str] = "pool"
    pool: nn.Parameter

    def fit(self, z: Features) -> PooledNoise:
        scale = checked(z).square().mean().sqrt()
        return PooledNoise((self.pool.detach() * scale).cpu())


@dataclass(frozen=True)
class Shredder(Component):
    """Adds RMS(z) · e_j to what is sent and weight · mean_j ln(1 / mean e_j²) to the loss.

    The `pool` of tensors e_j is learnt with the network and starts as Gaussian of RMS `start`;
    the price is the logarithm of the signal-to-noise ratio. The published form learns the noise for
    a network that stays as it is: join `freeze` to have that.

    It misleads gravely where the pool is thought secret: an attacker who has the device or enough
    sends learns all `pool` tensors, and then at most ln(pool) nats are hidden. Audit with the
    defence known.

    Raises:
        BadPlan: if weight, pool or start is not positive.
    """

    name: ClassVar[str] = "shredder"
    reference: ClassVar[str] = "Mireshghallah et al. 2020 (Shredder)"

    weight: float
    pool: int = 8
    start: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf") or self.pool < 1 or not 0 < self.start < float("inf"):
            raise BadPlan(
                f"shredder: weight, pool and start must be positive, got {self.weight}, "
                f"{self.pool}, {self.start}"
            )

    def prepare(self, setting: Setting) -> Part:
        size = setting.crossing(self).size
        memory = nn.Module()
        first = torch.randn(self.pool, size, generator=setting.rng.child("pool").torch())
        pool = nn.Parameter(self.start * first)
        memory.register_parameter("pool", pool)

        def send(z: Features, generator: torch.Generator) -> tuple[Features, None]:
            rows = torch.randint(self.pool, (len(z),), generator=generator).to(z.device)
            return z + z.square().mean().sqrt() * pool[rows], None

        def term(batch: Batch) -> Tensor:
            return -self.weight * pool.square().mean(1).log().mean()

        return Part(
            term=term,
            modules=memory,
            release=TrainedRelease(recipe=_Learnt(pool), send=send),
            notes=(
                f"{self}: an attacker who learns the {self.pool} tensors has little left to guess.",
            ),
        )

    def __str__(self) -> str:
        return written(self)
