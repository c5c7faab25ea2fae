"""Which claim a trial's method asks for."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from splitveil.audit.claim_names import BOUNDS, CALIBRATION, NOISE_NEEDED, PROXIES, TWIN
from splitveil.audit.claims.cell import Cell, Found
from splitveil.audit.claims.noise import Scored, noise_claims
from splitveil.audit.claims.proved import bounds
from splitveil.audit.claims.proxies import calibration, proxies
from splitveil.audit.claims.twin import twin
from splitveil.errors import BadPlan
from splitveil.rng import Rng


@dataclass(frozen=True, eq=False)
class Setting:
    """What claims are made from; each part is computed when a claim asks for it.

    `images` counts private images; `auxiliary` are the attacker's images with labels, `features`
    theirs; `floor` is the trivial answer's error; `scored` scores the network behind a release.
    """

    images: int
    cell: Callable[[], Cell]
    auxiliary: tuple[Tensor, Tensor | None]
    features: Callable[[], Tensor]
    floor: Callable[[], float]
    scored: Scored


def claim(method: str, setting: Setting, rng: Rng) -> Found:
    """Make the claim.

    Raises:
        BadPlan: if nothing is known of the method.
    """
    if method == CALIBRATION:
        return calibration(rng, setting.images)
    if method == BOUNDS:
        return bounds(setting.cell())
    if method == NOISE_NEEDED:
        return noise_claims(setting.cell(), setting.features, setting.floor(), setting.scored)
    if method == PROXIES:
        return proxies(setting.cell())
    if method == TWIN:
        return twin(setting.cell(), *setting.auxiliary)
    raise BadPlan(f"nothing is known of the claim {method}")
