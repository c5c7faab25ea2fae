"""What features sent as they are would need before anything can be proved of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from splitveil import measures
from splitveil.attacks.memory import piecewise
from splitveil.audit.claim_names import LEVEL, SHARE
from splitveil.audit.claims.cell import Cell, Found
from splitveil.audit.claims.proved import leak_floor
from splitveil.errors import AuditError, BadPlan, BudgetExceeded
from splitveil.estimators.isometry import coordinates
from splitveil.measures.galleries import NO_GUARANTEE
from splitveil.quantities import Kind, Quantity
from splitveil.release import GaussianNoise
from splitveil.release.gaussian import ClippedGaussian

_LEAST, _MOST = 0.05, 50.0
_STEPS = 9
_IMAGES = 500
_TOGETHER = 64

Scored = Callable[[ClippedGaussian], dict[str, Quantity]]


@dataclass(frozen=True, eq=False)
class _Half:
    """Some private images, their features in few coordinates, and labels if the attacker has."""

    x: Tensor
    z: Tensor
    y: Tensor | None


def noise_claims(
    cell: Cell, auxiliary: Callable[[], Tensor], floor: float, scored: Scored
) -> Found:
    """How much noise it takes before the gallery bound says something, and what that costs.

    The least noise, in root mean squares of the auxiliary features, at which no attacker could get
    below a tenth of `floor`, by bisection on half of the private images; the bound it buys is then
    had from the other half, which the search never saw.

    | quantity | says | kind |
    |---|---|---|
    | `noise` | standard deviation found, in root mean squares of the features | measured |
    | `bought` | least error of any attacker at that noise | at confidence, lower |
    | `accuracy_there`, ... | what the network is still good for there | measured |
    | `payload` | nats that fit into what is sent now, without noise | theorem, upper |
    | `leak_floor` | nats that are sent now at least | at confidence, lower |

    Args:
        cell: a cut at which features are sent as they are.
        auxiliary: gives the attacker's features, from which clip and scale are set.
        floor: the trivial answer's error, mse per value.
        scored: scores the network behind a release.
    """
    found = Found(details={"words": NO_GUARANTEE, "share": SHARE, "asked": SHARE * floor})

    def search() -> dict[str, Quantity]:
        base = GaussianNoise(sigma=1.0).fit(auxiliary())
        return _search(cell, base, SHARE * floor, scored, found.details)

    def payload() -> dict[str, Quantity]:
        return {"payload": measures.payload_bound(cell.release, cell.z.shape[1])}

    return found.gather(
        [
            ("payload", payload),
            ("leak_floor", lambda: {"leak_floor": leak_floor(cell)}),
            ("noise", search),
        ]
    )


def _search(
    cell: Cell, base: ClippedGaussian, error: float, scored: Scored, details: dict[str, object]
) -> dict[str, Quantity]:
    first, second = _halves(cell, base)

    def family(sigma: float) -> ClippedGaussian:
        centre = first.z.new_zeros(first.z.shape[1])
        return ClippedGaussian(centre, math.inf, sigma * base.sigma)

    try:
        needed = measures.noise_needed(
            first.x,
            first.z,
            family,
            cell.rng.child("noise"),
            error=error,
            low=_LEAST,
            high=_MOST,
            steps=_STEPS,
            labels=first.y,
            draws=2,
            level=LEVEL,
        )
    except BadPlan as refused:
        raise BudgetExceeded(
            f"not even noise of {_MOST:g} root mean squares of the features is proved enough with "
            f"{len(first.x)} images: more private images prove more"
        ) from refused
    sigma = _rounded_up(needed.sigma)
    own = ClippedGaussian(second.z.new_zeros(second.z.shape[1]), math.inf, sigma * base.sigma)
    bought = measures.genie_bound(
        second.x, second.z, own, cell.rng.child("fresh"), labels=second.y, level=LEVEL
    )
    details["release"] = f"gaussian(sigma={sigma:g})"
    details["monotone"] = needed.monotone
    details["holds"] = bought.value >= error
    noise = Quantity.exact(
        sigma,
        unit="rms of the features",
        kind=Kind.MEASURED,
        n=len(first.x),
        assumptions=("least noise of a bisection; the bound it buys stands beside it",),
    )
    there = ClippedGaussian(base.centre, base.radius, sigma * base.sigma)
    try:
        utility = scored(there)
    except AuditError:
        utility = {}
    there_too = {f"{name}_there": q for name, q in utility.items()}
    return {"noise": noise, "bought": bought, **there_too}


def _halves(cell: Cell, base: ClippedGaussian) -> tuple[_Half, _Half]:
    order = torch.randperm(len(cell.x), generator=cell.rng.child("halves").torch())
    half = min(_IMAGES, len(order) // 2)

    def part(rows: Tensor) -> _Half:
        rows = rows.to(cell.x.device)
        z = coordinates(piecewise(base.clip, cell.z[rows], _TOGETHER).cpu())
        return _Half(cell.x[rows], z, None if cell.known is None else cell.known[rows])

    return part(order[:half]), part(order[half : 2 * half])


def _rounded_up(sigma: float) -> float:
    """Three digits that a person can type, never less than what was found."""
    step = 10.0 ** (math.floor(math.log10(sigma)) - 2)
    return float(f"{math.ceil(sigma / step - 1e-9) * step:.6g}")
