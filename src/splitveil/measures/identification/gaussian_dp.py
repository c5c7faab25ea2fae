"""Reconstruction robustness of clipped Gaussian noise: how often any attacker lands near."""

import math

from scipy.special import ndtr, ndtri

from splitveil.errors import BadPlan
from splitveil.measures.galleries import NO_GUARANTEE
from splitveil.measures.identification.chance import at_most
from splitveil.quantities import Quantity
from splitveil.release.base import Release
from splitveil.release.gaussian import ClippedGaussian


def gaussian_dp_success(release: Release, kappa: Quantity, *, sends: int = 1) -> Quantity:
    """P(distance(X, guess) <= r) <= Phi(Phi⁻¹(kappa(r)) + sqrt(R) B / s) for every attacker.

    What is sent lies within B of a fixed point before the noise s, so telling an image from that
    point is a Gaussian test of mean shift B / s; without seeing anything the attacker succeeds
    with chance kappa at most. Near 1 where B is several times s, as it is in high dimension at any
    useful accuracy.

    Args:
        release: clipped Gaussian noise, or post-processing of it.
        kappa: upper bound on a blind guess's chance, as from `pair_ball`.
        sends: R, how many times each image is sent with fresh noise.

    Returns:
        Unit: probability. Kind: that of kappa, upper; the theorem 1 for a release that is not
        clipped Gaussian, in words.

    Raises:
        BadPlan: if kappa is not an upper bound, or there are no sends.
    """
    if sends < 1:
        raise BadPlan(f"sends must be at least 1, got {sends}")
    noisy = release.dominating()
    if not noisy.has_density:
        return at_most(1.0, kappa, notes=(NO_GUARANTEE,))
    if not isinstance(noisy, ClippedGaussian) or math.isinf(noisy.radius):
        return at_most(1.0, kappa, notes=("nothing is known of this release but its density",))
    shift = math.sqrt(sends) * noisy.radius / noisy.sigma
    notes = (
        "the noise is fresh and its law is the stated one",
        f"features lie in a ball of {noisy.radius / noisy.sigma:.3g} noise deviations",
        f"each image is sent {sends} time{'s' if sends > 1 else ''}",
    )
    return at_most(float(ndtr(ndtri(kappa.high) + shift)), kappa, notes=notes)
