"""Noise by value, largest where the answer does not look."""

from dataclasses import dataclass
from typing import ClassVar

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
from splitveil.errors import BadData
from splitveil.estimators.sensitivity import answer_curvature
from splitveil.quantities import Kind, Quantity
from splitveil.release import GaussianNoise, ShapedGaussian, powered_variances
from splitveil.release.shaped import floored

_IMAGES = 500


@dataclass(frozen=True)
class UtilityNoise(Component):
    """Clipped Gaussian noise of the power of `noise(sigma)`, shaped to cost the answer least.

        n_i = (-v_i + √(v_i² + 2 t v_i / u_i)) / 2   with   mean n_i = sigma² mean v_i

    v_i are variances of features, u_i the curvature of the cross-entropy in them (diagonal
    Gauss-Newton, `answer_curvature`), taken on 500 calibration images behind even noise of the same
    power; both count with at least 1e-4 of their mean. Of all noise that lets as much through this
    costs least, were features independent and Gaussian and the loss quadratic. Settled anew after
    every epoch, since the tail moves.

    The shape is a proxy's optimum: features are correlated, and what leaks is for an audit to say.
    Values that the answer ignores now are drowned, and the network hardly learns to use them again.

    Raises:
        BadPlan: if sigma is not positive and finite, or clip not in (0, 1].
        BadData: if the answers do not depend on what is sent.
    """

    name: ClassVar[str] = "utility-noise"
    reference: ClassVar[str] = "reverse water-filling with costs; curvature as in Schraudolph 2002"

    sigma: float
    clip: float = 0.99

    def __post_init__(self) -> None:
        GaussianNoise(sigma=self.sigma, clip=self.clip)

    def prepare(self, setting: Setting) -> Part:
        return settled(setting.crossing(self).size, self.clip, self.fit)

    def fit(self, calibration: Calibration) -> Fitted:
        """The noise for the network as it stands, and what its shape saves."""
        even = GaussianNoise(sigma=self.sigma, clip=self.clip).fit(calibration.z)
        generator = calibration.rng.child("noise").torch()
        sent = even(calibration.z[:_IMAGES], generator)
        generator = calibration.rng.child("probes").torch()
        curvature = answer_curvature(calibration.tail, sent, generator)
        if not float(curvature.sum()) > 0:
            raise BadData(f"{self}: answers do not depend on what is sent: choose another cut")
        variances = floored(calibration.z.double().var(0, correction=0))
        noise = powered_variances(variances, floored(curvature), even.sigma**2)
        release = ShapedGaussian(
            even,
            noise.sqrt().to(calibration.z.dtype),
        )
        share = float((curvature * noise).sum() / (curvature.sum() * even.sigma**2))
        saved = Quantity.exact(
            share,
            unit="",
            kind=Kind.PROXY,
            n=len(sent),
            assumptions=("the tail is taken as linear and the noise as small",),
        )
        text = "loss by this noise over that by even noise of the same power"
        return Fitted(
            release=release,
            statements=(Statement(component=str(self), text=text, quantity=saved),),
        )

    def __str__(self) -> str:
        return written(self)
