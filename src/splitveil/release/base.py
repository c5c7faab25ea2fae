"""What is done to the features before they leave the device."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields
from typing import ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor

from splitveil.release.coding import Coder, FloatCoder
from splitveil.shapes import Features, PerImage

_PAIR_VALUES = 1 << 24


@dataclass(frozen=True, eq=False)
class Envelope:
    """A density w of what is sent with log p(sent | z) - log w(sent) <= `ceiling` for every z.

    `log_density` gives log w in nats, one value a row. The ceiling, in nats, bounds what one sent
    image can carry, and makes log ratios to any mixture that holds w bounded too.
    """

    log_density: Callable[[Features], PerImage]
    ceiling: float


class Release(ABC):
    """A fitted mechanism applied to packed features z of shape (n, f)."""

    @abstractmethod
    def __call__(self, z: Features, generator: torch.Generator) -> Features:
        """What is sent, as the receiver sees it after decoding; same shape as `z`."""

    def log_prob(self, sent: Features, z: Features) -> PerImage | None:
        """Log p(sent | z) in nats per image, or None where no density exists.

        A deterministic release of float features has none: no information-theoretic statement can
        be made about it.
        """
        return None

    @property
    def has_density(self) -> bool:
        """Whether `log_prob` gives numbers: only then can anything be proved about an attacker."""
        return False

    @property
    def is_random(self) -> bool:
        """Whether the same features may be sent differently at another time."""
        return self.has_density

    @abstractmethod
    def bits(self, features: int) -> float:
        """Bits on the wire for one image of `features` values, before any entropy coding."""

    def pairwise_log_prob(
        self, sent: Float[Tensor, "q f"], z: Float[Tensor, "n f"]
    ) -> Float[Tensor, "q n"] | None:
        """Log p(sent_i | z_j) in nats for every pair, or None where no density exists.

        The default asks `log_prob` for all pairs in blocks; override it where algebra is cheaper.
        """
        rows = max(1, _PAIR_VALUES // max(1, z.numel()))
        blocks = []
        for block in sent.split(rows):
            values = self.log_prob(block.repeat_interleave(len(z), 0), z.repeat(len(block), 1))
            if values is None:
                return None
            blocks.append(values.reshape(len(block), len(z)))
        return torch.cat(blocks)

    def envelope(self, features: int) -> Envelope | None:
        """A density that dominates what is sent, or None where none is known.

        There is one only where the features are confined, by clipping or to a range.
        """
        return None

    def capacity(self, features: int) -> float:
        """Most nats that one sent image can carry about its input, whatever the input's law.

        B bits carry at most B ln 2 nats; an override may know better, never more.
        """
        return self.bits(features) * math.log(2)

    def dominating(self) -> "Release":
        """The release with a density of which this one is post-processing; by default itself.

        An error bound for it holds for this one too: post-processing never helps an attacker.
        """
        return self

    def coder(self, generator: torch.Generator) -> Coder:
        """What turns sent features into bytes and back.

        `generator` stands where the one given to `__call__` stood: a release whose two ends share
        randomness draws it again from there.
        """
        return FloatCoder()


class ReleaseRecipe(ABC):
    """Settings of a release; an immutable dataclass whose `repr` rebuilds it.

    `str` gives the form `parse_release` reads, with settings at their default left out.
    """

    name: ClassVar[str]

    @abstractmethod
    def fit(self, z: Features) -> Release:
        """Calibrate scales on clean features of auxiliary images, never on private ones.

        Raises:
            BadData: if the features are empty, not finite, or give no scale.
        """

    @property
    def content(self) -> "ReleaseRecipe":
        """The same recipe as records name it: by what it does, not by where that lies."""
        return self

    def __str__(self) -> str:
        settings = ", ".join(
            f"{field.name}={getattr(self, field.name)}"
            for field in cast("tuple[Field[object], ...]", fields(self))  # type: ignore[arg-type]
            if field.default is MISSING or getattr(self, field.name) != field.default
        )
        return f"{self.name}({settings})" if settings else self.name
