"""The zone of a network by every rule, from features at hand: what an audit would record, and less.

An audit refuses a network near chance and attacks with everything it has; an experiment on permuted
labels, or on dozens of small networks, needs neither.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from splitveil.audit.environment import this_environment
from splitveil.audit.sent import PLAIN
from splitveil.data import LabelledImages
from splitveil.estimators.paper_probe import paper_raw_radius
from splitveil.measures import radius
from splitveil.models.accuracy import predict
from splitveil.partition import Cut, Traced
from splitveil.quantities import Kind, Quantity
from splitveil.records import Outcome, Status, Task, Trial
from splitveil.reproduce.gpz.probe import centre_accuracy, class_moments, labels
from splitveil.select import Zone, find_zone
from splitveil.select.reading import Records

PROBED = 128


@dataclass(frozen=True, eq=False, kw_only=True)
class Sight:
    """What is known of a network at some cuts: features of held-out images, and attackers' errors.

    `held` are labelled images with features `z` (n, f) by cut id; `errors` maps a cut's id and an
    attack's name to mean squared errors; `floor` is the error of the class mean.
    """

    traced: Traced
    cuts: tuple[Cut, ...]
    held: LabelledImages
    z: Mapping[str, torch.Tensor]
    errors: Mapping[str, Mapping[str, NDArray[np.float64]]]
    floor: float
    classes: int


def zone_of(sight: Sight) -> Zone:
    """The zone by `find_zone`: robust, the paper's, from the attacks, and from dimension alone."""
    x = sight.held.x
    y = labels(sight.held)
    answers = predict(sight.traced.module, x).argmax(1)
    moments = {cut.id: class_moments(sight.z[cut.id], y, sight.classes) for cut in sight.cuts}
    spread: dict[str, dict[str, Any]] = {}
    for cut in sight.cuts:
        found = {name: q.to_json() for name, q in radius(moments[cut.id]).items()}
        accuracy = centre_accuracy(sight.z[cut.id], y, sight.classes)
        found["centre_accuracy"] = _exact(accuracy, len(y)).to_json()
        spread[cut.id] = found
    details = {
        "cuts": spread,
        "replicates": {
            cut: {"nc1": list(found.replicates["nc1"])} for cut, found in moments.items()
        },
        "classes": "labels",
        "paper_raw": {
            "radii": {
                cut.id: paper_raw_radius(sight.z[cut.id][:PROBED], answers[:PROBED])
                for cut in sight.cuts
            }
        },
    }
    outcomes = [
        _outcome(Task.MOMENTS, "*", "moments()", {}, details),
        _outcome(
            Task.UTILITY,
            "*",
            "accuracy()",
            {"accuracy": _exact(float((answers == y).double().mean()), len(y))},
        ),
        _outcome(Task.ATTACK, "*", "ClassMean()", {"mse": _exact(sight.floor, len(y))}),
        *(
            _outcome(
                Task.ATTACK, cut, f"{name}()", {"mse": _exact(float(errors.mean()), len(errors))}
            )
            for cut, by_name in sight.errors.items()
            for name, errors in by_name.items()
        ),
    ]
    shape = tuple(int(side) for side in x.shape[1:])
    manifest = {
        "model": {"channels": shape[0], "size": list(shape[1:])},
        "cuts": [
            {"cut": _described(cut), "edge_parameters": 0, "edge_flops": 0} for cut in sight.cuts
        ],
    }
    records = Records(path=Path(), manifest=manifest, summary={}, outcomes=tuple(outcomes))
    return find_zone(records)


def plain(zone: Zone) -> dict[str, object]:
    """Names in place of ids, and the evidence of each cut in plain numbers."""
    names: dict[str | None, str] = {one.cut: one.name for one in zone.evidence}
    return {
        "start": names.get(zone.start),
        "paper": [names[cut] for cut in zone.paper_raw],
        "jump": names.get(zone.jump),
        "post_hoc": names.get(zone.post_hoc),
        "dimension": names.get(zone.shrinks_most),
        "sentences": list(zone.sentences),
        "cuts": [
            {
                "name": one.name,
                "features": one.features,
                "fall": None if one.fall is None else one.fall.log,
                "z": None if one.fall is None else float(np.clip(one.fall.z, -99, 99)),
                "centre": None if one.centre_accuracy is None else one.centre_accuracy.value,
                "eta": one.eta,
                "mse": None if one.attack_mse is None else one.attack_mse.value,
            }
            for one in zone.evidence
        ],
    }


def positions(cuts: Sequence[str]) -> dict[str, int]:
    """The place of each cut in order."""
    return {name: place for place, name in enumerate(cuts)}


def _described(cut: Cut) -> dict[str, object]:
    return {
        "id": cut.id,
        "name": cut.name,
        "kind": str(cut.kind.value),
        "depth": cut.depth,
        "layout": asdict(cut.layout),
    }


def _exact(value: float, n: int) -> Quantity:
    return Quantity.exact(value, unit="", kind=Kind.MEASURED, n=n)


def _outcome(
    task: Task,
    cut: str,
    method: str,
    quantities: Mapping[str, Quantity],
    details: Mapping[str, Any] | None = None,
) -> Outcome:
    return Outcome(
        trial=Trial(scope="", task=task, cut=cut, release=PLAIN, method=method, seed=0),
        status=Status.DONE,
        environment=this_environment("cpu"),
        seconds=0.0,
        quantities=dict(quantities),
        details=dict(details or {}),
    )
