"""How ill a candidate's features explain what was sent: by the release where it is known."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from splitveil.partition.layout import Layout
from splitveil.release.base import Release
from splitveil.release.chain import ChainedRelease
from splitveil.release.coding import Lattice
from splitveil.release.dithered import DitheredFeatures
from splitveil.release.gaussian import ClippedGaussian
from splitveil.release.uniform import RoundedFeatures

_SLACK = 1 / 8
_FAR = 1e4
_QUIETEST = 1e-2


class Fidelity(ABC):
    """Minus the log likelihood of what was sent, per feature value, up to a constant.

    `nats` says whether it is one, so that a prior in nats can be added as it stands. `expected` is
    its mean at the truth where that is known: to fit better than that is to fit the noise.
    """

    nats: bool = True
    expected: float | None = None

    @abstractmethod
    def __call__(self, z: Tensor, images: Tensor) -> Tensor:
        """Compare candidates z (b, f) with what images (b,) sent: (b,), differentiable."""


@dataclass(frozen=True, eq=False)
class Standardised(Fidelity):
    """½ mean_f ((z̄ - z) / s_c)²: no noise is known, every channel counts alike.

    `mean` (n, f) over the sends, `scale` (f) the standard deviation of each feature's channel.
    """

    mean: Tensor
    scale: Tensor
    nats = False

    def __call__(self, z: Tensor, images: Tensor) -> Tensor:
        return 0.5 * ((self.mean[images] - z) / self.scale).square().mean(1)


@dataclass(frozen=True, eq=False)
class Gaussian(Fidelity):
    """Σ_sends ‖z_s - clip(z)‖² / (2 σ² f), from the mean of the sends, which is sufficient."""

    mean: Tensor
    sends: int
    release: ClippedGaussian
    expected = 0.5

    def __call__(self, z: Tensor, images: Tensor) -> Tensor:
        squared = (self.mean[images] - clipped(self.release, z)).square().mean(1)
        return self.sends * squared / (2 * self.release.sigma**2)


@dataclass(frozen=True, eq=False)
class Interval(Fidelity):
    """-Σ_sends mean_f log(Φ((b - z) / σ) - Φ((a - z) / σ)): each value lay in a cell [a, b].

    Exact for Gaussian noise of deviation σ before rounding. For rounding alone σ is an eighth of a
    cell: the uniform likelihood has no gradient. Cells `low`, `high` are (n, sends, f).
    """

    low: Tensor
    high: Tensor
    sigma: float
    clip: ClippedGaussian | None

    def __call__(self, z: Tensor, images: Tensor) -> Tensor:
        z = z if self.clip is None else clipped(self.clip, z)
        a = (self.low[images] - z[:, None]) / self.sigma
        b = (self.high[images] - z[:, None]) / self.sigma
        return -log_share(a.clamp(-_FAR, _FAR), b.clamp(-_FAR, _FAR)).mean(2).sum(1)


@dataclass(frozen=True, eq=False)
class Density(Fidelity):
    """-Σ_sends log p(z_s | z) / f of a release that gives its own density."""

    sends: Tensor
    release: Release

    def __call__(self, z: Tensor, images: Tensor) -> Tensor:
        total = torch.zeros(len(z), dtype=torch.float64, device=z.device)
        for sent in self.sends[images].unbind(1):
            value = self.release.log_prob(sent, z)
            if value is not None:
                total = total - value
        return total / z.shape[1]


def clipped(release: ClippedGaussian, z: Tensor) -> Tensor:
    """The release's clip with a gradient that is finite everywhere, within the ball and without."""
    if math.isinf(release.radius):
        return z
    centre = release.centre.to(z.device, z.dtype)
    offset = z - centre
    norm = offset.square().sum(1, keepdim=True).clamp(min=release.radius**2).sqrt()
    return centre + offset * (release.radius / norm)


def log_share(a: Tensor, b: Tensor) -> Tensor:
    """Log(Φ(b) - Φ(a)) for a < b without cancellation, in the tail where both are small."""
    turned = a + b > 0
    a, b = torch.where(turned, -b, a), torch.where(turned, -a, b)
    low, high = torch.special.log_ndtr(a), torch.special.log_ndtr(b)
    gap = (low - high).clamp(max=-1e-7)
    return high + torch.log(-torch.expm1(gap))


def fidelity_of(
    release: Release | None, sends: Tensor, example: Tensor, layout: Layout
) -> Fidelity:
    """The fidelity that a release implies for `sends` (n, sends, f).

    `release` is None where the attacker does not know it; `example` (m, f) are features of its own
    images, which give channels their scale.
    """
    stages = release.stages if isinstance(release, ChainedRelease) else (release,)
    *before, last = stages
    noisy = [stage for stage in before if stage is not None and stage.has_density]
    if isinstance(last, ClippedGaussian) and not noisy:
        return Gaussian(sends.mean(1), sends.shape[1], last)
    if isinstance(last, RoundedFeatures | DitheredFeatures):
        if not noisy:
            return _cells(last, sends, last.lattice.step * _SLACK, None)
        noise = noisy[0]
        if len(noisy) == 1 and noise is before[-1] and isinstance(noise, ClippedGaussian):
            return _cells(last, sends, noise.sigma, noise)
    if release is not None and _differentiable(release, example):
        return Density(sends, release)
    return Standardised(sends.mean(1), channel_scale(example, layout))


def channel_scale(z: Tensor, layout: Layout) -> Tensor:
    """The standard deviation (f,) of each feature's channel over images and positions.

    Maps have channels first, rows of tokens last; elsewhere each feature is its own channel. Quiet
    channels count as a hundredth of the root mean square of all, so that they do not decide.
    """
    spread = z.double().var(0, correction=0)
    parts, begin = [], 0
    for part in layout.parts:
        own = spread[begin : begin + part.size]
        begin += part.size
        if len(part.shape) == 3:
            own = own.reshape(part.multiplicity, part.shape[0], -1)
            own = own.mean((0, 2), keepdim=True).expand_as(own)
        elif len(part.shape) == 2:
            own = own.reshape(-1, part.shape[-1])
            own = own.mean(0, keepdim=True).expand_as(own)
        parts.append(own.reshape(-1))
    scale = torch.cat(parts).sqrt()
    floor = max(_QUIETEST * float(scale.square().mean().sqrt()), 1e-12)
    return scale.clamp(min=floor).to(z.dtype)


def _cells(
    release: RoundedFeatures | DitheredFeatures,
    sends: Tensor,
    sigma: float,
    clip: ClippedGaussian | None,
) -> Interval:
    lattice: Lattice = release.lattice
    half = lattice.step / 2
    low, high = sends - half, sends + half
    # values beyond the range are sent as its ends; dither takes them there before it shifts them
    low = torch.where(low < lattice.low, -math.inf, low)
    high = torch.where(high > lattice.high, math.inf, high)
    return Interval(low, high, sigma, clip)


def _differentiable(release: Release, example: Tensor) -> bool:
    if not release.has_density:
        return False
    with torch.enable_grad():
        z = example[:1].detach().clone().requires_grad_()
        value = release.log_prob(example[:1].detach() + 0.1 * example.std(), z)
        if value is None or not value.requires_grad:
            return False
        (slope,) = torch.autograd.grad(value.sum(), z)
    return bool(slope.isfinite().all() and slope.any())
