"""Noise sized by the log-determinant of the Fisher information of what is sent about the image."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64
from scipy.optimize import brentq
from torch import Tensor

from splitveil.defences.base import (
    Calibration,
    Component,
    Fitted,
    Part,
    Setting,
    Statement,
    written,
)
from splitveil.defences.settled import settled
from splitveil.errors import BadData, BadPlan
from splitveil.estimators.jacobian import Head, jacobian_rows
from splitveil.quantities import Kind, Quantity
from splitveil.release import ClippedGaussian, GaussianNoise
from splitveil.rng import Rng
from splitveil.shapes import Images

_IMAGES, _CHUNK, _VALUES = 256, 32, 4096
_REACH = 1.959963984540054
_ASSUMPTIONS = (
    "as if pixel values were independent and Gaussian, of the images' mean variance: real images "
    "are not, and an attacker who knows that may err less than it says",
    "slopes are averaged over these images before the determinant is taken",
)


@dataclass(frozen=True)
class FisherShannon(Component):
    """Clipped Gaussian noise that leaves `nats` of Fisher-approximated information a pixel value.

        FSInfo = 1/(2d) ln det(I + v R E[J_fᵀ J_f] / s²)

    v is the mean variance of the d pixel values, R `sends`, J_f the Jacobian of the head and its
    clip, averaged over 256 calibration images by `probes` random rows each. With eigenvalues l_i of
    v R E[J_fᵀ J_f] the noise solves Σ ln(1 + l_i / s²) = 2 d nats. A sample's determinant is too
    low; that is taken off to first order by halves of the images. Settled anew after every epoch.
    Stronger is smaller: `fsinfo(1..0.01)`.

    Beside `fisher` (the trace) a steep direction counts by its logarithm, and a forgotten one costs
    nothing; at dFIL = (e^(2 nats) - 1) / v the trace form never asks for less noise. Were images
    N(m, v I), and slopes averaged over those, d FSInfo would be no less than I(X; Z), and every
    attacker's error no less than v e^(-2 nats) (Efroimovich), both with equality for a linear head.
    They are not, so it is a proxy and limits no attacker on them. A network trained with it can
    flatten its slopes on the images it knows.

    Raises:
        BadPlan: if a setting is out of range; before training if images have more than 4,096
            values, or more values than there are rows.
        BadData: if features do not move with the image, or pixels do not vary.
    """

    name: ClassVar[str] = "fsinfo"
    reference: ClassVar[str] = "after Deng et al. 2025 (FSInfo, arXiv 2504.10016); Efroimovich 1979"

    nats: float
    sends: int = 1
    clip: float = 0.99
    probes: int = 16

    def __post_init__(self) -> None:
        if not 0 < self.nats < 100 or self.sends < 1 or self.probes < 1:
            raise BadPlan(
                "fsinfo: nats a pixel value must be positive and below 100, sends and probes at "
                f"least 1, got {self.nats}, {self.sends} and {self.probes}"
            )
        GaussianNoise(sigma=1.0, clip=self.clip)

    def prepare(self, setting: Setting) -> Part:
        size = setting.crossing(self).size
        assert setting.x is not None  # noqa: S101 - with a cut
        self._refuse(setting.x, size)
        return settled(size, self.clip, self.fit)

    def fit(self, calibration: Calibration) -> Fitted:
        """The noise for the network as it stands, and where it is final what is left on others."""
        self._refuse(calibration.x, calibration.z.shape[1])
        ball = GaussianNoise(sigma=1.0, clip=self.clip).fit(calibration.z)

        def seen(x: Images) -> Tensor:
            return ball.clip(calibration.head(x).flatten(1))

        variance = float(calibration.x.double().var(0, correction=0).mean())
        if not variance > 0:
            raise BadData(f"{self}: pixels do not vary over {len(calibration.x)} images")
        gain = variance * self.sends
        slopes = Slopes.of(seen, calibration.x[:_IMAGES], calibration.rng, probes=self.probes)
        if not float(slopes.whole.sum()) > 0:
            raise BadData(f"{self}: features do not move with the image: choose another cut")
        release = ClippedGaussian(ball.centre, ball.radius, slopes.sigma(self.nats, gain))
        if not calibration.final or len(calibration.fresh) < 4:
            return Fitted(release=release)
        fresh = calibration.fresh.x[:_IMAGES]
        others = Slopes.of(seen, fresh, calibration.rng.child("left"), probes=self.probes)
        statement = Statement(
            component=str(self),
            text="Fisher-approximated information left on fresh images",
            quantity=others.quantity(gain / release.sigma**2),
        )
        return Fitted(release=release, statements=(statement,))

    def _refuse(self, x: Images, features: int) -> None:
        values = x[0].numel()
        rows = min(_IMAGES, len(x)) * min(self.probes, features)
        if values > _VALUES:
            raise BadPlan(
                f"{self}: a determinant of {values} x {values} slopes is too large, at most "
                f"{_VALUES} values an image: use fisher, the trace form"
            )
        if rows < values and self.probes < features:
            raise BadPlan(
                f"{self}: {rows} rows of slopes are too few for {values} pixel values: give more "
                "images or probes"
            )

    def __str__(self) -> str:
        return written(self)


@dataclass(frozen=True, eq=False, kw_only=True)
class Slopes:
    """Eigenvalues of E[J_fᵀ J_f] over all images, and over their halves; rows behind them.

    `whole` (d) and `halves` (2, d) are in squared feature units per squared pixel unit, `rows`
    (p, n, d) sum to J_fᵀ J_f of each image.
    """

    whole: Float64[Tensor, " d"]
    halves: Float64[Tensor, "2 d"]
    rows: Float64[Tensor, "p n d"]

    @staticmethod
    def of(head: Head, x: Images, rng: Rng, *, probes: int) -> "Slopes":
        """Over images, by so many random rows each, or all rows where there are no more of them."""
        parts = [
            jacobian_rows(
                head,
                x[start : start + _CHUNK],
                rng.child("probes", start).torch(),
                probes=probes,
            )
            for start in range(0, len(x), _CHUNK)
        ]
        rows = torch.cat(parts, dim=1).double().cpu()
        if not bool(rows.isfinite().all()):
            raise BadData("gradients are NaN or infinite: check the model and its images")
        halves = [rows[:, parity::2].flatten(0, 1) for parity in (0, 1)]
        counts = [(len(x) + 1) // 2, len(x) // 2]
        own = [half.T @ half / count for half, count in zip(halves, counts, strict=True)]
        mean = (counts[0] * own[0] + counts[1] * own[1]) / len(x)
        found = torch.linalg.eigvalsh(torch.stack([mean, *own])).clamp_min(0)
        return Slopes(whole=found[0], halves=found[1:], rows=rows)

    def nats(self, scale: float) -> float:
        """FSInfo at v R / s² = `scale`, freed of the sample's first-order bias.

        Few rows push a concave form down: by c / n to first order, hence by 2 c / n on halves. The
        trace form, which it never exceeds, is the most that is answered.
        """
        whole = float((scale * self.whole).log1p().mean()) / 2
        half = float((scale * self.halves).log1p().mean()) / 2
        most = math.log1p(scale * float(self.whole.mean())) / 2
        return min(2 * whole - half, most)

    def sigma(self, nats: float, gain: float) -> float:
        """S at which `nats` are left, v R being `gain`."""
        # the trace form needs at least as much
        most = math.log(gain * float(self.whole.mean()) / math.expm1(2 * nats)) / 2
        least = most - 1
        while self.nats(gain * math.exp(-2 * least)) < nats:
            least -= 1

        def excess(log: float) -> float:
            return self.nats(gain * math.exp(-2 * log)) - nats

        return math.exp(brentq(excess, least, most + 1e-9, xtol=1e-12))

    def quantity(self, scale: float) -> Quantity:
        """FSInfo with an interval over images, to first order from each one's share of it."""
        value = self.nats(scale)
        images, d = self.rows.shape[1:]
        flat = self.rows.flatten(0, 1)
        matrix = torch.eye(d, dtype=torch.float64) + (scale / images) * flat.T @ flat
        turned = torch.cholesky_solve(flat.T, torch.linalg.cholesky(matrix)).T
        shares = (turned * flat).sum(1).unflatten(0, self.rows.shape[:2]).sum(0)
        reach = _REACH * float(shares.std()) * scale / (2 * d * math.sqrt(images))
        return Quantity(
            value=value,
            low=max(0.0, value - reach),
            high=value + reach,
            unit="nat per pixel value",
            kind=Kind.PROXY,
            n=images,
            assumptions=(*_ASSUMPTIONS, "images are independent draws"),
        )
