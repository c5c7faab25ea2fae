"""Random projections that keep squared lengths in the mean, for features too wide to keep."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.rng import Rng
from splitveil.shapes import Features


@dataclass(frozen=True)
class CountSketch:
    """y = S z: every feature, with a random sign, is added to one of `width` places.

    E |S v|² = |v|² for every v, so traces of scatter stay unbiased; their relative deviation is
    about sqrt(2 / (width r)), r = (tr)² / |.|_F² of the covariance. The hash is balanced: runs of
    `width` features of a random order, so that two features meet with probability `meeting`, a
    little below 1 / width. Stateless: equal sizes and seeds give the same sketch. With no
    more features than `width` it is the identity.

    Not for log-determinants: a projection leaks less than what it projects, and its log-det bounds
    nothing.

    References:
        Charikar, Chen & Farach-Colton 2002; Weinberger et al. 2009.

    Raises:
        BadPlan: if a size is not positive.
    """

    features: int
    width: int
    seed: int = 0
    _signs: Tensor = field(init=False, repr=False, compare=False)
    _order: Tensor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.features < 1 or self.width < 1:
            raise BadPlan(
                f"a sketch needs features and width of at least 1, got {self.features}, "
                f"{self.width}"
            )
        rng = Rng(self.seed).child("count sketch", self.features, self.width)
        signs = torch.randint(0, 2, (self.features,), generator=rng.child("signs").torch())
        order = torch.randperm(self.features, generator=rng.child("order").torch())
        object.__setattr__(self, "_signs", (2 * signs - 1).to(torch.int8))
        object.__setattr__(self, "_order", order)

    @property
    def exact(self) -> bool:
        """Whether nothing is lost."""
        return self.features <= self.width

    @property
    def meeting(self) -> float:
        """Probability, over seeds, that two given features go to one place."""
        if self.exact:
            return 0.0
        runs, rest = divmod(self.features, self.width)
        places = self.width * runs * (runs - 1) + 2 * rest * runs
        return places / (self.features * (self.features - 1))

    def __call__(self, z: Features) -> Float[Tensor, "n m"]:
        """Sketch features of shape (n, features); m = min(features, width).

        Raises:
            BadData: if z has another number of features.
        """
        if z.shape[1] != self.features:
            raise BadData(f"this sketch takes {self.features} features, got shape {tuple(z.shape)}")
        if self.exact:
            return z
        mixed = z.index_select(1, self._order.to(z.device))
        mixed *= self._signs.to(z.device, z.dtype)
        out = mixed[:, : self.width].clone()
        for part in mixed[:, self.width :].split(self.width, 1):
            out[:, : part.shape[1]] += part
        return out
