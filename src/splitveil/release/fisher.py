"""Noise by value that costs least power for the Fisher information left."""

import math

from jaxtyping import Float64
from torch import Tensor

from splitveil.errors import BadData, BadPlan


def fisher_variances(slopes: Float64[Tensor, " f"], trace: float) -> Float64[Tensor, " f"]:
    """Noise variances n of least sum that leave tr J_x = `trace` of Fisher information.

        minimise Σ n_i  with  Σ g_i / n_i = T:   n_i = √g_i Σ_j √g_j / T

    g_i = E |grad_x f_i|² are the slopes of features, so Σ g_i / n_i = E tr(J_fᵀ N⁻¹ J_f); even
    noise of the same trace has n = Σ g_i / T and never less power (Cauchy-Schwarz). Exact for the
    mean Jacobian; says nothing of biased attackers.

    Args:
        slopes: g > 0, squared feature units per squared pixel unit.
        trace: T, per squared pixel unit: dFIL times the values of an image.

    Raises:
        BadPlan: if the trace is not positive and finite.
        BadData: if a slope is not positive.
    """
    if not 0 < trace < math.inf:
        raise BadPlan(f"the trace left must be positive and finite, got {trace}")
    if not bool((slopes > 0).all()):
        raise BadData("slopes must be positive: raise those of values that do not move")
    roots = slopes.sqrt()
    return roots * roots.sum() / trace
