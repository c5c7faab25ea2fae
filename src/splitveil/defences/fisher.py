"""Noise in closed form from the Fisher information of what is sent about the image."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

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
from splitveil.estimators.sensitivity import feature_slopes
from splitveil.measures import dfil
from splitveil.release import ClippedGaussian, GaussianNoise, ShapedGaussian, fisher_variances
from splitveil.release.shaped import floored
from splitveil.shapes import Images

_IMAGES = 256


@dataclass(frozen=True)
class Fisher(Component):
    """Clipped Gaussian noise that leaves a Fisher information of `dfil` per pixel value.

        dFIL = E tr(J_x) / d,  J_x = R J_fᵀ N⁻¹ J_f

    With `shape` "even" s² = R E tr(J_fᵀ J_f) / (d dFIL), with "values" the noise by value of least
    total power, n_i = R √g_i Σ_j √g_j / (d dFIL), g_i = E |grad_x f_i|²; values that hardly move
    count with 1e-4 of the mean. J_f is that of the head and its clip, over 256 calibration images
    by `probes` random directions each; R is `sends`. Settled anew after every epoch. Stronger is
    smaller: `fisher(1000..1)`.

    A proxy: 1 / dFIL limits unbiased attackers only. Where the head forgets a direction there is
    none, and even the mean image may do better. A network trained with it can flatten its slopes on
    the images it knows.

    Raises:
        BadPlan: if a setting is out of range.
        BadData: if features do not move with the image.
    """

    name: ClassVar[str] = "fisher"
    reference: ClassVar[str] = "Maeng et al. 2023 (dFIL); after Deng et al. 2025 (FSInfoGuard)"

    dfil: float
    shape: Literal["even", "values"] = "even"
    sends: int = 1
    clip: float = 0.99
    probes: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.dfil < math.inf or self.sends < 1 or self.probes < 1:
            raise BadPlan(
                "fisher: dfil must be positive and finite, sends and probes at least 1, got "
                f"{self.dfil}, {self.sends} and {self.probes}"
            )
        if self.shape not in ("even", "values"):
            raise BadPlan(f"fisher: shape is 'even' or 'values', got '{self.shape}'")
        GaussianNoise(sigma=1.0, clip=self.clip)

    def prepare(self, setting: Setting) -> Part:
        return settled(setting.crossing(self).size, self.clip, self.fit)

    def fit(self, calibration: Calibration) -> Fitted:
        """The noise for the network as it stands, and where it is final what is left on others."""
        ball = GaussianNoise(sigma=1.0, clip=self.clip).fit(calibration.z)

        def seen(x: Images) -> Tensor:
            return ball.clip(calibration.head(x).flatten(1))

        x = calibration.x[:_IMAGES]
        generator = calibration.rng.child("probes").torch()
        slopes = feature_slopes(seen, x, generator, probes=self.probes)
        if not float(slopes.sum()) > 0:
            raise BadData(f"{self}: features do not move with the image: choose another cut")
        trace = x[0].numel() * self.dfil / self.sends
        release: ClippedGaussian | ShapedGaussian
        if self.shape == "even":
            sigma = math.sqrt(float(slopes.sum()) / trace)
            release = ClippedGaussian(ball.centre, ball.radius, sigma)
        else:
            noise = fisher_variances(floored(slopes), trace)
            release = ShapedGaussian(ball, noise.sqrt().to(calibration.z.dtype))
        if not calibration.final or len(calibration.fresh) < 2:
            return Fitted(release=release)
        left = dfil(
            calibration.head,
            calibration.fresh.x[:_IMAGES],
            release,
            calibration.rng.child("left"),
            sends=self.sends,
        )
        text = "Fisher information left on fresh images"
        return Fitted(
            release=release, statements=(Statement(component=str(self), text=text, quantity=left),)
        )

    def __str__(self) -> str:
        return written(self)
