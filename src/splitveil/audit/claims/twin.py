"""Least errors for a declared source of images, a stand-in for the real ones."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from splitveil import measures
from splitveil.audit.claims.cell import Cell, Found
from splitveil.errors import BadPlan
from splitveil.estimators.jacobian import Head
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.rng import Rng

NOISE = 0.02
"""Standard deviation added to the twin's pixels, so that it has a density."""

_MOST_VALUES, _MOST_VALUES_BY_CLASS = 4096, 1100
_PROBES = 64
_DRAWN = 2000


def twin(cell: Cell, x: Tensor, y: Tensor | None, *, images: int = 512) -> Found:
    """Bounds that hold for images drawn from a Gaussian mixture like the attacker's own images.

    They go through the real head and the real release. They say nothing certain of real images,
    which have no such density: kind model.

    | quantity | says |
    |---|---|
    | `van_trees`, `efroimovich` | least error, from Jacobians |
    | `shannon`, `label_side` | least error, from entropies and the variational information |

    Args:
        cell: a cut behind Gaussian noise.
        x: auxiliary images, to which the source is fitted.
        y: their labels, for one Gaussian a class.
        images: draws of the source whose Jacobians are taken.
    """
    if cell.gaussian is None:
        raise BadPlan(f"a declared source needs Gaussian noise, got {cell.release!r}")
    values = x[0].numel()
    if values > _MOST_VALUES:
        raise BadPlan(f"a declared source takes images of at most {_MOST_VALUES} values: {values}")
    labels = y if values <= _MOST_VALUES_BY_CLASS else None
    source = measures.MixtureSource.twin(x, labels, noise=NOISE)
    found = Found(details={"source": _described(source), "noise": NOISE})
    return found.gather(
        [
            ("fisher", lambda: _fisher(cell, source, images)),
            ("shannon", lambda: _shannon(cell, source)),
        ]
    )


def _described(source: measures.MixtureSource) -> str:
    parts = len(source.weights)
    return (
        f"{parts} Gaussian{'s, one a class' if parts > 1 else ''}, {source.means.shape[1]} values"
    )


def _fisher(cell: Cell, source: measures.MixtureSource, images: int) -> dict[str, Quantity]:
    with torch.enable_grad():
        information = measures.bayesian_information(
            cell.partition.head,
            source,
            cell.release,
            cell.rng.child("fisher"),
            images=images,
            probes=_PROBES,
        )
    found = {"van_trees": measures.van_trees(information)}
    if information.enough:
        found["efroimovich"] = measures.efroimovich(information)
    return found


def _features(head: Head, x: Tensor) -> Tensor:
    return torch.cat([head(part) for part in x.float().split(250)])


@torch.no_grad()
def _shannon(cell: Cell, source: measures.MixtureSource) -> dict[str, Quantity]:
    rng = cell.rng.child("shannon")
    z = _features(cell.partition.head, source.draw(_DRAWN, rng))
    told = measures.variational_bound(z, cell.release, rng.child("told"))
    told = replace(
        told, kind=Kind.MODEL, assumptions=("for the declared source", *told.assumptions)
    )
    entropy, _ = measures.mixture_entropy_bounds(source.weights, source.means, source.covariances)
    d = source.means.shape[1]
    return {"shannon": measures.shannon_bound(entropy, told, dimensions=d)} | _within(
        source, told, rng, d
    )


def _within(
    source: measures.MixtureSource, told: Quantity, rng: Rng, d: int
) -> dict[str, Quantity]:
    """The same where the attacker is told the class: I(X; Z | Y) is at most I(X; Z)."""
    entropies = [
        Quantity.exact(
            0.5 * (d * math.log(2 * math.pi * math.e) + float(torch.logdet(covariance))),
            unit="nat",
            kind=Kind.MODEL,
            direction=Direction.LOWER,
        )
        for covariance in source.covariances
    ]
    shares = [float(weight) for weight in source.weights]
    return {"label_side": measures.label_side_bound(entropies, told, shares=shares, dimensions=d)}
