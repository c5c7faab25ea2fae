"""Golden Partition Zone: radii beside errors; C1 (depth), C3 and C4 (alignment), C5 (delay)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitveil.attacks import ClassMean, Ridge
from splitveil.audit.environment import this_environment
from splitveil.quantities import Kind, Quantity
from splitveil.records import Outcome, Status, Task, Trial
from splitveil.release import Identity
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.draws import (
    error_draws,
    jackknife_draws,
    largest_rise,
    quantity_of,
    rank_correlation,
)
from splitveil.reproduce.experiment import Evidence, Experiment, Scale
from splitveil.reproduce.gpz.attacks import (
    RIDGE,
    errors_at,
    errors_of,
    floors,
    inversions,
    ratio,
)
from splitveil.reproduce.gpz.claims import ALIGNED, DELAYED, DEPTH, NETWORKS, RANKED
from splitveil.reproduce.gpz.places import LOGITS, PLACES
from splitveil.reproduce.gpz.radius import Spread
from splitveil.rng import Rng
from splitveil.select.reading import Records
from splitveil.select.zone import find_zone, paper_raw_marks

_DRAWN = Rng(0).child("gpz")
_THIRD = 1 / 3


def places_of(evidence: Evidence, network: str) -> list[Mapping[str, Any]]:
    """What is known of the attacked cuts of a network without attacks, in their order.

    Raises:
        ArmMissing: if its moments are missing.
    """
    rows: Any = evidence.take(Spread(network=network)).details["cuts"]
    named = {row["name"]: row for row in rows}
    return [named[name] for name in PLACES[network]]


def zone_starts(evidence: Evidence, network: str, scale: Scale) -> list[str | None]:
    """The start of the zone by the robust rule at the attacked cuts, once for every seed.

    Raises:
        ArmMissing: if moments or an attack is missing.
    """
    found = []
    for seed in range(scale.seeds):
        records = _records(evidence, network, scale, seed)
        names = {row["id"]: row["name"] for row in places_of(evidence, network)}
        start = find_zone(records).start
        found.append(None if start is None else str(names[start]))
    return found


def _records(evidence: Evidence, network: str, scale: Scale, seed: int) -> Records:
    """The evidence as an audit's records, which the rule of the zone reads."""
    rows = places_of(evidence, network)
    accuracy = evidence.take(Spread(network=network)).quantities["accuracy"]
    floor = evidence.take(floors(scale)[seed]).arrays["class_mean"]
    outcomes = [
        _outcome(Task.UTILITY, "*", "accuracy()", {"accuracy": accuracy}),
        _outcome(Task.MOMENTS, "*", "moments()", {}, _moments(rows)),
        _outcome(Task.ATTACK, "*", repr(ClassMean()), {"mse": _mean(floor)}),
        *(
            _outcome(
                Task.ATTACK,
                row["id"],
                repr(Ridge()),
                {"mse": _mean(errors_at(evidence, network, row["name"], scale, RIDGE)[seed])},
            )
            for row in rows
        ),
    ]
    cuts = [
        {
            "cut": {
                "id": row["id"],
                "name": row["name"],
                "kind": row["kind"],
                "depth": row["depth"],
                "layout": {"parts": [{"shape": [row["features"]], "multiplicity": 1}]},
            },
            "edge_parameters": 0,
            "edge_flops": 0,
        }
        for row in rows
    ]
    manifest = {"model": {"channels": 1, "size": [32, 32]}, "cuts": cuts}
    return Records(path=Path(), manifest=manifest, summary={}, outcomes=tuple(outcomes))


def _moments(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    def quantities(row: Mapping[str, Any]) -> dict[str, Any]:
        plain = {
            name: Quantity.exact(float(value), unit="", kind=Kind.PROXY).to_json()
            for name, value in row["values"].items()
        }
        return {**plain, "centre_accuracy": row["centre_accuracy"]}

    return {
        "cuts": {row["id"]: quantities(row) for row in rows},
        "replicates": {row["id"]: row["replicates"] for row in rows},
        "classes": "labels",
        "paper_raw": {"radii": {row["id"]: row["paper_raw"] for row in rows}},
    }


def _mean(errors: NDArray[np.float32] | NDArray[np.float64]) -> Quantity:
    return Quantity.exact(float(errors.mean()), unit="mse per value", kind=Kind.MEASURED)


def _outcome(
    task: Task,
    cut: str,
    method: str,
    quantities: Mapping[str, Quantity],
    details: Mapping[str, Any] | None = None,
) -> Outcome:
    trial = Trial(scope="", task=task, cut=cut, release=repr(Identity()), method=method, seed=0)
    return Outcome(
        trial=trial,
        status=Status.DONE,
        environment=this_environment("cpu"),
        seconds=0.0,
        quantities=quantities,
        details=details or {},
    )


def _over_seeds(values: Sequence[float], unit: str) -> Quantity:
    """The median of one number a seed, and the range."""
    return Quantity(
        value=float(np.median(values)),
        low=float(min(values)),
        high=float(max(values)),
        unit=unit,
        kind=Kind.MEASURED,
        n=len(values),
        assumptions=("the interval is the range over attack seeds",),
    )


def depth(scale: Scale) -> Experiment:
    """C1."""

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        readings, notes = [], []
        for network, places in PLACES.items():
            first = next(iter(places))
            quantity = ratio(
                errors_at(evidence, network, LOGITS, scale),
                errors_at(evidence, network, first, scale),
                _DRAWN.child("C1", network),
            )
            readings.append(Reading(measured=_C1[0], subject=network, quantity=quantity))
        late, pool = (errors_at(evidence, "vgg", cut, scale) for cut in (LOGITS, "pool1"))
        of_pool = ratio(late, pool, _DRAWN.child("C1", "pool"))
        readings.append(Reading(measured=_C1[1], subject="vgg", quantity=of_pool))
        found = _zone_over_shallow(evidence, scale)
        if found is None:
            notes.append("vgg has no zone by the robust rule, so its error cannot be compared")
        else:
            readings.append(Reading(measured=_C1[2], subject="vgg", quantity=found))
        note = "; ".join(notes)
        return (Finding(claim=DEPTH, quantities=tuple(readings), seeds=scale.seeds, note=note),)

    return Experiment(claims=(DEPTH,), arms=_all_arms(scale), judge=judge)


_C1 = tuple(one.measured for one in DEPTH.criteria)


def _zone_over_shallow(evidence: Evidence, scale: Scale) -> Quantity | None:
    """Error where the zone of vgg starts over the mean error of its shallow third."""
    starts = zone_starts(evidence, "vgg", scale)
    if any(start is None for start in starts):
        return None
    shallow = [row["name"] for row in places_of(evidence, "vgg") if row["depth"] <= _THIRD]
    top = np.stack(
        [errors_at(evidence, "vgg", str(start), scale)[i] for i, start in enumerate(starts)]
    )
    bottom = np.mean([errors_at(evidence, "vgg", name, scale) for name in shallow], axis=0)
    words = (f"zone starts at {', '.join(str(s) for s in starts)}; shallow: {', '.join(shallow)}",)
    return ratio(top, bottom, _DRAWN.child("C1", "zone"), words)


def _drawn(
    evidence: Evidence, network: str, scale: Scale, name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Draws of a measure and of the error at every place, and the number of test images."""
    rows = places_of(evidence, network)
    errors = errors_of(evidence, network, scale)
    measured = jackknife_draws(
        [float(row["values"][name]) for row in rows],
        [row["replicates"][name] for row in rows],
        _DRAWN.child("radius", network),
    )
    return measured, error_draws(errors, _DRAWN.child("errors", network)), errors.shape[2]


def alignment(scale: Scale) -> Experiment:
    """C3."""

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        readings = []
        for network in NETWORKS:
            for name, measured in (
                ("nc1", ALIGNED.criteria[0].measured),
                ("radius", "the same for raw R_c^2"),
            ):
                values, errors, n = _drawn(evidence, network, scale, name)
                away = np.abs(largest_rise(1 / values) - largest_rise(errors)).astype(np.float64)
                readings.append(_distance(measured, network, away, n))
            readings += _baselines(evidence, network, scale)
        return (Finding(claim=ALIGNED, quantities=tuple(readings), seeds=scale.seeds),)

    return Experiment(claims=(ALIGNED,), arms=_all_arms(scale), judge=judge)


def _distance(measured: str, network: str, away: NDArray[np.float64], n: int) -> Reading:
    return Reading(measured=measured, subject=network, quantity=quantity_of(away, unit="cuts", n=n))


def _baselines(evidence: Evidence, network: str, scale: Scale) -> list[Reading]:
    """The paper's own rule, its nearest mark, and the number of features alone."""
    rows = places_of(evidence, network)
    _, errors, n = _drawn(evidence, network, scale, "nc1")
    step = largest_rise(errors)
    marks = paper_raw_marks([float(row["paper_raw"]) for row in rows])
    # a mark stands for the cut at which the fall ends, a step for the one before it
    nearest = np.min([np.abs(step + 1 - mark) for mark in marks], axis=0).astype(np.float64)
    sizes = np.array([[row["features"] for row in rows]], dtype=np.float64)
    shrink = np.abs(step - largest_rise(1 / sizes)[0]).astype(np.float64)
    return [
        _distance("the same for the nearest mark of the paper's rule", network, nearest, n),
        _distance("the same for the number of features alone", network, shrink, n),
    ]


def ranking(scale: Scale) -> Experiment:
    """C4."""

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        readings = []
        for network in NETWORKS:
            for name, measured in _RANKED.items():
                values, errors, n = _drawn(evidence, network, scale, name)
                found = quantity_of(rank_correlation(values, errors), unit="", n=n)
                readings.append(Reading(measured=measured, subject=network, quantity=found))
            rows = places_of(evidence, network)
            sizes = np.array([row["features"] for row in rows], dtype=np.float64)
            alone = rank_correlation(np.broadcast_to(sizes, errors.shape), errors)
            readings.append(
                Reading(
                    measured="rank correlation of the number of features and MSE",
                    subject=network,
                    quantity=quantity_of(alone, unit="", n=n),
                )
            )
        return (Finding(claim=RANKED, quantities=tuple(readings), seeds=scale.seeds),)

    return Experiment(claims=(RANKED,), arms=_all_arms(scale), judge=judge)


_RANKED = {
    "nc1": RANKED.criteria[0].measured,
    "radius": "rank correlation of raw R_c^2 and MSE",
    "v": "rank correlation of R_c^2 per feature and MSE",
    "leak(0.1)": "rank correlation of r(0.1) and MSE",
}


def delay(scale: Scale) -> Experiment:
    """C5."""

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        starts = {name: zone_starts(evidence, name, scale) for name in NETWORKS}
        depths = {
            name: {row["name"]: float(row["depth"]) for row in places_of(evidence, name)}
            for name in NETWORKS
        }
        readings = []
        for network in ("resnet", "ir"):
            pairs = list(zip(starts[network], starts["vgg"], strict=True))
            if all(a is not None and b is not None for a, b in pairs):
                away = [depths[network][str(a)] - depths["vgg"][str(b)] for a, b in pairs]
                found = _over_seeds(away, "share of operations")
                readings.append(
                    Reading(measured=DELAYED.criteria[0].measured, subject=network, quantity=found)
                )
        note = "; ".join(
            f"zone of {name} starts at {', '.join(s or 'no zone' for s in dict.fromkeys(found))}"
            for name, found in starts.items()
        )
        return (Finding(claim=DELAYED, quantities=tuple(readings), seeds=scale.seeds, note=note),)

    return Experiment(claims=(DELAYED,), arms=_all_arms(scale), judge=judge)


def _all_arms(scale: Scale) -> tuple[Any, ...]:
    """Radii of every network, then floors, then attacks."""
    radii = tuple(Spread(network=network) for network in NETWORKS)
    attacks = tuple(arm for network in NETWORKS for arm in inversions(network, scale))
    return (*radii, *floors(scale), *attacks)
