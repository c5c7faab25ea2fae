"""Reconstruction robustness of pure local differential privacy."""

import math

from splitveil.errors import BadPlan
from splitveil.measures.identification.chance import at_most
from splitveil.quantities import Quantity


def local_dp_success(epsilon: float, kappa: Quantity, *, sends: int = 1) -> Quantity:
    """P(distance(X, guess) <= r) <= exp(R epsilon) kappa(r) for every attacker.

    Args:
        epsilon: of the mechanism, for one send: densities of what any two images send differ by at
            most exp(epsilon).
        kappa: upper bound on a blind guess's chance, as from `pair_ball`.
        sends: R, how many times each image is sent, independently.

    Returns:
        Unit: probability. Kind: that of kappa, upper.

    Raises:
        BadPlan: if epsilon is negative, kappa is not an upper bound, or there are no sends.
    """
    if not epsilon >= 0 or sends < 1:
        raise BadPlan(f"epsilon must be at least 0 and sends at least 1, got {epsilon}, {sends}")
    chance = kappa.high
    bounded = math.exp(min(0.0, sends * epsilon + math.log(chance))) if chance > 0 else 0.0
    notes = (f"every send is {epsilon:g} locally differentially private",)
    return at_most(bounded, kappa, notes=notes)
