"""Where latents may lie."""

from abc import ABC, abstractmethod
from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor

Latents: TypeAlias = Float[Tensor, "n d"]
OtherLatents: TypeAlias = Float[Tensor, "n2 d2"]


class Constraint(ABC):
    """Settings of a set of latents, and the nearest point of it; each row by itself."""

    @abstractmethod
    def project(self, z: Latents, start: OtherLatents) -> Latents:
        """The nearest allowed latents; `start` (n, d) is where the stage began."""
