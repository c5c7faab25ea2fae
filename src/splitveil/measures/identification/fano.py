"""Fano's inequality on a continuum: how often any attacker lands near, from information alone."""

import math

from scipy import optimize
from scipy.special import rel_entr

from splitveil.errors import BadPlan
from splitveil.measures.identification.chance import at_most
from splitveil.quantities import Quantity


def kl_inverse(chance: float, nats: float) -> float:
    """Largest p with kl(p || chance) <= nats, for kl(p || q) = p log(p/q) + (1-p) log((1-p)/(1-q)).

    Example:
        >>> round(kl_inverse(0.5, 0.1), 4)
        0.7198
        >>> kl_inverse(0.5, 1.0), kl_inverse(0.25, 0.0)
        (1.0, 0.25)

    Raises:
        BadPlan: if chance is not in [0, 1] or nats is negative.
    """
    if not 0 <= chance <= 1 or not nats >= 0:
        raise BadPlan(
            f"a chance lies in [0, 1] and information is not negative, got {chance}, {nats}"
        )
    if chance in (0, 1) or nats == 0:
        return float(chance)
    if nats >= -math.log(chance):
        return 1.0

    def excess(p: float) -> float:
        return float(rel_entr(p, chance) + rel_entr(1 - p, 1 - chance)) - nats

    return min(1.0, float(optimize.brentq(excess, chance, 1.0, xtol=1e-13)) + 1e-12)


def fano_success(information: Quantity, kappa: Quantity) -> Quantity:
    """P(distance(X, guess) <= r) = p obeys kl(p || kappa(r)) <= I(X; Z), for every attacker.

    Whether the guess is near is a function of (X, Z) whose chance is at most kappa were they
    independent: data processing gives the rest. Says nothing once I exceeds log(1 / kappa), hence
    bites at a few nats only.

    Args:
        information: upper bound on I(X; Z) in nats an image, all sends together.
        kappa: upper bound on a blind guess's chance, as from `pair_ball`.

    Returns:
        Unit: probability. Kind: the weaker of both, upper.

    Raises:
        BadPlan: if either is not an upper bound.
    """
    return at_most(kl_inverse(kappa.high, max(0.0, information.high)), kappa, information)
