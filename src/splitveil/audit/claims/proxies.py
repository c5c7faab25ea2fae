"""Numbers that rank and prove nothing, and the same estimators where the answer is known."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

from torch import Tensor

from splitveil import measures
from splitveil.audit.claims.cell import Cell, Found
from splitveil.quantities import Quantity
from splitveil.rng import Rng

Estimator: TypeAlias = Callable[[Tensor, Tensor, Rng], Quantity]

_ESTIMATORS: Mapping[str, Estimator] = {
    "distance_correlation": partial(measures.distance_correlation, most=1000),
    "hsic": partial(measures.hsic, most=1000),
    "mine": measures.mine,
    "nwj": measures.nwj,
    "info_nce": measures.info_nce,
    "club": measures.club,
}
_IMAGES_FOR_FISHER = 64


def proxies(cell: Cell) -> Found:
    """dFIL, distance correlation, HSIC and critics' information of what is sent.

    dFIL only behind Gaussian noise. Read each beside its own calibration (`calibration`): critics
    saturate far below what real features carry.
    """
    sent = cell.release(cell.z, cell.rng.child("sent").torch())

    def ask(name: str) -> dict[str, Quantity]:
        return {name: _ESTIMATORS[name](cell.x, sent, cell.rng.child(name))}

    pieces: list[tuple[str, Callable[[], dict[str, Quantity]]]] = [
        (name, partial(ask, name)) for name in _ESTIMATORS
    ]
    if cell.gaussian is not None:
        pieces.append(("dfil", lambda: {"dfil": _fisher(cell)}))
    return Found().gather(pieces)


def _fisher(cell: Cell) -> Quantity:
    x = cell.x[:_IMAGES_FOR_FISHER]
    return measures.dfil(cell.partition.head, x, cell.release, cell.rng.child("dfil"), probes=8)


def calibration(rng: Rng, images: int) -> Found:
    """Every estimator of `proxies` on Gaussian pairs of known information, at as many images."""

    def told(name: str) -> list[dict[str, object]]:
        rungs = measures.calibration_ladder(_ESTIMATORS[name], rng.child(name), images=images)
        return [{"nats": rung.nats, "found": rung.found.to_json()} for rung in rungs]

    return Found(details={"ladders": {name: told(name) for name in _ESTIMATORS}})
