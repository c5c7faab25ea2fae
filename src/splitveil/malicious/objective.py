"""What the second half of a malicious loss asks: pictures that look like the images."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from splitveil.errors import BadPlan

_WINDOW, _DEVIATION = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


@dataclass(frozen=True, eq=False)
class Known:
    """Images, and their windows' means and variances, which no step need compute again."""

    x: Tensor
    mean: Tensor
    variance: Tensor

    def take(self, positions: Tensor) -> "Known":
        """Those of some images."""
        return Known(self.x[positions], self.mean[positions], self.variance[positions])

    @staticmethod
    def joined(parts: "list[Known]") -> "Known":
        """Several after each other."""
        return Known(
            torch.cat([part.x for part in parts]),
            torch.cat([part.mean for part in parts]),
            torch.cat([part.variance for part in parts]),
        )


class Similarity:
    """Mean structural similarity (Wang et al. 2004) with a gradient, for values in [0, 1].

    Gaussian windows of 11x11, sd 1.5, that lie wholly inside the image; on sides shorter than that
    the widest odd window. Separable: a blur is one product with a banded matrix for each axis, and
    the blurred map stays transposed, which no sum minds.
    """

    def __init__(self, size: tuple[int, int], device: torch.device | str = "cpu") -> None:
        self.rows, self.columns = (_band(side).to(device) for side in size)

    def known(self, x: Tensor) -> Known:
        """The targets' share of the work."""
        mean, square = self._blur(torch.stack([x, x * x]))
        return Known(x, mean, (square - mean * mean).clamp_min(0))

    def __call__(self, picture: Tensor, target: Known) -> Tensor:
        """The mean over images, channels and windows, a scalar."""
        parts = torch.stack([picture, picture * picture, picture * target.x])
        mean, square, product = self._blur(parts)
        variance = (square - mean * mean).clamp_min(0)
        covariance = product - mean * target.mean
        top = (2 * mean * target.mean + _C1) * (2 * covariance + _C2)
        below = (mean * mean + target.mean * target.mean + _C1) * (variance + target.variance + _C2)
        return (top / below).mean()

    def _blur(self, x: Tensor) -> Tensor:
        return (x @ self.columns).transpose(-1, -2) @ self.rows


def _band(side: int) -> Tensor:
    """(side, places) whose columns are the window at each place."""
    window = min(_WINDOW, side - 1 + side % 2)
    offsets = torch.arange(window, dtype=torch.float64) - window // 2
    weights = (-0.5 * (offsets / _DEVIATION) ** 2).exp()
    weights /= weights.sum()
    places = side - window + 1
    band = torch.zeros(side, places, dtype=torch.float64)
    for offset, weight in enumerate(weights):
        band.diagonal(-offset)[:] += weight
    return band.float()


@dataclass(frozen=True, kw_only=True)
class Resemblance:
    """Huber · mean Huber(x̂ - x) + similarity · (1 - SSIM), the Huber loss with delta 1.

    On pixels in [0, 1] the Huber loss is half the squared error.

    Raises:
        BadPlan: if a weight is negative or not finite, or both are zero.
    """

    huber: float | int = 5.0
    similarity: float | int = 1.0

    def __post_init__(self) -> None:
        total = self.huber + self.similarity
        if not (self.huber >= 0 and self.similarity >= 0 and 0 < total < float("inf")):
            raise BadPlan(
                f"weights of the resemblance must not be negative, and not both zero, got {self}"
            )

    def __call__(self, picture: Tensor, target: Known, similarity: Similarity) -> Tensor:
        """A scalar with a gradient."""
        total = self.huber * huber_loss(picture, target.x)
        if self.similarity:
            total = total + self.similarity * (1 - similarity(picture, target))
        return total
