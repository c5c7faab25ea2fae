"""Golden Partition Zone: radii and budgets of all cuts in one pass; C12 (sanity), C14 (switch)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from splitveil import measures
from splitveil.data import LabelledImages
from splitveil.errors import BadData
from splitveil.estimators import ClassMoments, Moments
from splitveil.estimators.geometry import ClassGeometry
from splitveil.estimators.log_det import (
    ladder_spectrum,
    oas_spectrum,
    sample_spectrum,
    top_directions,
    trace_information,
)
from splitveil.estimators.moments import groups_within, stream_order
from splitveil.estimators.paper_probe import paper_raw_radius
from splitveil.measures.geometry import class_geometry
from splitveil.measures.information import leak_budget
from splitveil.numerics import log_jackknife
from splitveil.partition import Cut
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.reproduce.bench import Bench, Reference
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.experiment import Arm, Evidence, Experiment, Measured, Scale
from splitveil.reproduce.gpz.claims import NETWORKS, NOISES, SANE, SWITCH
from splitveil.reproduce.gpz.places import LOGITS, PLACES, cuts_at, partition_at

_CLASSES = 10
_BATCH = 64
_SKETCHED = 2000
_PROBED = 128  # the paper's batch
_KEPT = ("radius", "v", "nc1", *(f"leak({noise})" for noise in NOISES))
_SANE_AT = {
    "vgg": "pool3",
    "resnet": "stage3.block3",
    "ir": "stage4.unit2",
    "vit": "blocks.4",
}
_RANKS = (0, 1, 2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True, kw_only=True)
class Spread(Arm):
    """Class-wise moments, leak budgets and centres at every cut of a network, in one pass.

    Details: `cuts`, in order of depth, each with `values` and jackknife `replicates` of radius, v,
    nc1 and r(e), `budgets` by noise, and at the attacked places `centre_accuracy` and `paper_raw`.
    """

    network: str

    @property
    def minutes(self) -> float:
        """Of one pass over all private images."""
        return {"vgg": 0.6, "resnet": 1.6, "ir": 1.6, "vit": 1.2}[self.network]

    def run(self, bench: Bench) -> Measured:
        images, reference = bench.images(), bench.reference(self.network)
        private = _joined(images.validation, images.test)
        places = cuts_at(reference, tuple(PLACES[self.network]))
        cuts = {cut.id: cut for cut in (*reference.traced.menu(), *places)}
        moments, logits = _moments(reference, cuts, private)
        geometry = _geometry(reference, places, private)
        raw = _paper_raw(reference, places, images.auxiliary.x[:_PROBED])
        values = math.prod(private.x.shape[1:])
        rows = [
            {
                "id": cut.id,
                "name": cut.name,
                "kind": str(cut.kind),
                "depth": cut.depth,
                "features": cut.layout.size,
                "values": {name: moments[cut.id].values[name] for name in _KEPT},
                "replicates": {name: list(moments[cut.id].replicates[name]) for name in _KEPT},
                "budgets": _budgets(moments[cut.id], values),
                "centre_accuracy": geometry.get(cut.id),
                "paper_raw": raw.get(cut.id),
            }
            for cut in sorted(cuts.values(), key=lambda cut: (cut.depth, cut.name == LOGITS))
        ]
        accuracy = measures.accuracy(logits, _labels(private))
        return Measured(quantities={"accuracy": accuracy}, details={"cuts": rows})


@dataclass(frozen=True, kw_only=True)
class Sanity(Arm):
    """Identities and orders of the measures on 1,000 images' features at one late cut."""

    network: str

    @property
    def minutes(self) -> float:
        """Mostly eigenvalues."""
        return 0.5

    @torch.no_grad()
    def run(self, bench: Bench) -> Measured:
        reference, test = bench.reference(self.network), bench.images().test
        some = test.take(torch.arange(1000))
        partition = partition_at(reference, _SANE_AT[self.network])
        parts = [partition.features(x) for x in some.x.split(_BATCH)]
        z = torch.cat(parts).double()
        found = {**_identities(z, _labels(some)), **_log_dets(z)}
        return Measured(
            quantities={
                name: Quantity.exact(value, unit="", kind=Kind.MEASURED, n=len(z))
                for name, value in found.items()
            }
        )


def _labels(images: LabelledImages) -> Tensor:
    if images.y is None:
        raise BadData("these experiments need labelled images")
    return images.y


def _joined(first: LabelledImages, second: LabelledImages) -> LabelledImages:
    return LabelledImages(
        torch.cat([first.x, second.x]), torch.cat([_labels(first), _labels(second)])
    )


@torch.no_grad()
def _moments(
    reference: Reference, cuts: Mapping[str, Cut], images: LabelledImages
) -> tuple[dict[str, Moments], Tensor]:
    """Moments of every cut, and the logits, from one forward pass."""
    inner = [cut for cut in cuts.values() if cut.name != LOGITS]
    groups = groups_within(_CLASSES, [cut.layout.size for cut in cuts.values()])
    sums = {k: ClassMoments(_CLASSES, c.layout.size, groups=groups) for k, c in cuts.items()}
    labels, ids = _labels(images), torch.arange(len(images))
    logits = torch.zeros(len(images), _CLASSES)
    for chosen in stream_order(labels, ids, groups).split(_BATCH):
        out, features = reference.traced.forward_with_features(images.x[chosen], inner)
        logits[chosen] = out
        for key, z in {**features, LOGITS: out}.items():
            sums[key].update(z, labels[chosen], chosen)
    return {key: one.result() for key, one in sums.items()}, logits


@torch.no_grad()
def _geometry(
    reference: Reference, places: Sequence[Cut], images: LabelledImages
) -> dict[str, dict[str, Any]]:
    """Accuracy of the nearest class centre at the attacked places."""
    inner = [cut for cut in places if cut.name != LOGITS]
    sums = {cut.id: ClassGeometry(_CLASSES, cut.layout.size) for cut in places}
    labels = _labels(images)
    for chosen in torch.arange(min(_SKETCHED, len(images))).split(_BATCH):
        out, features = reference.traced.forward_with_features(images.x[chosen], inner)
        for key, z in {**features, LOGITS: out}.items():
            sums[key].update(z, labels[chosen], chosen)
    return {
        key: class_geometry(one.result())["centre_accuracy"].to_json() for key, one in sums.items()
    }


@torch.no_grad()
def _paper_raw(reference: Reference, places: Sequence[Cut], x: Tensor) -> dict[str, float]:
    inner = [cut for cut in places if cut.name != LOGITS]
    out, features = reference.traced.forward_with_features(x, inner)
    predicted = out.argmax(1)
    return {key: paper_raw_radius(z, predicted) for key, z in {**features, LOGITS: out}.items()}


def _budgets(moments: Moments, values: int) -> list[dict[str, Any]]:
    """Both forms of the leak budget at every noise, bits per input value."""
    return [
        {
            "noise": noise,
            "overall": budget.overall.to_json(),
            "by_class": None if budget.by_class is None else budget.by_class.to_json(),
        }
        for noise, budget in zip(NOISES, leak_budget(moments, NOISES, values=values), strict=True)
    ]


def _identities(z: Tensor, y: Tensor) -> dict[str, float]:
    def moments(features: Tensor, order: Sequence[int]) -> Moments:
        ids = torch.arange(len(y))
        parts = [ClassMoments(_CLASSES, features.shape[1]) for _ in range(4)]
        for number, rows in enumerate(ids.tensor_split(4)):
            parts[number].update(features[rows], y[rows], rows)
        whole = ClassMoments(_CLASSES, features.shape[1])
        for number in order:
            whole.merge(parts[number])
        return whole.result()

    first, other = moments(z, (0, 1, 2, 3)), moments(z, (3, 1, 0, 2))
    scaled = moments(7 * z, (0, 1, 2, 3))
    total = float((z - z.mean(0)).square().sum()) / len(z)
    free = ("nc1", "rho", *(f"leak({noise})" for noise in NOISES))
    identity, order, change, factor = (one.measured for one in SANE.criteria[:4])
    return {
        identity: abs(total - first.values["within"] - first.values["between"]) / total,
        order: max(_apart(first.values[name], other.values[name]) for name in first.values),
        change: max(_apart(first.values[name], scaled.values[name]) for name in free),
        factor: scaled.values["radius"] / first.values["radius"],
    }


def _apart(a: float, b: float) -> float:
    return abs(a - b) / max(abs(a), abs(b), 1e-300)


def _log_dets(z: Tensor) -> dict[str, float]:
    sample = sample_spectrum(z)
    noise = 0.1 * math.sqrt(sample.trace / z.shape[1])
    half = len(z) // 2
    directions = top_directions(z[:half], max(_RANKS))
    ladder = [ladder_spectrum(z[half:], directions[:, :rank]).information(noise) for rank in _RANKS]
    plug, shrunk = sample.information(noise), oas_spectrum(sample, len(z) - 1).information(noise)
    trace = trace_information(sample.trace, z.shape[1], noise)
    rise, first, second = (one.measured for one in SANE.criteria[4:])
    return {
        rise: max(b - a for a, b in pairwise(ladder)),
        first: plug / shrunk,
        second: shrunk / trace,
    }


def sanity(scale: Scale) -> Experiment:
    """C12."""
    arms = tuple(Sanity(network=network) for network in NETWORKS)

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        readings = tuple(
            Reading(measured=name, subject=arm.network, quantity=found)
            for arm in arms
            for name, found in evidence.take(arm).quantities.items()
        )
        return (Finding(claim=SANE, quantities=readings, seeds=1),)

    return Experiment(claims=(SANE,), arms=arms, judge=judge)


def switch(scale: Scale) -> Experiment:
    """C14."""
    arms = tuple(Spread(network=network) for network in NETWORKS)

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        readings, notes = [], []
        for arm in arms:
            rows = _by_depth(evidence.take(arm).details)
            for criterion, noise in zip(SWITCH.criteria, NOISES, strict=True):
                found = switch_depth(rows, noise)
                if found is None:
                    notes.append(f"{arm.network}: at noise {noise:g} the global form wins last")
                    continue
                readings.append(
                    Reading(measured=criterion.measured, subject=arm.network, quantity=found)
                )
                readings.append(_share_tighter(rows, noise, arm.network))
        return (Finding(claim=SWITCH, quantities=tuple(readings), seeds=1, note="; ".join(notes)),)

    return Experiment(claims=(SWITCH,), arms=arms, judge=judge)


def _by_depth(details: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Cuts in order of depth; those inside blocks, which cross with their skip, among them."""
    return list(details["cuts"])


def switch_depth(rows: Sequence[Mapping[str, Any]], noise: float) -> Quantity | None:
    """Depth of the first cut from which on the class form is the smaller at every cut.

    The two forms are compared on the same images: r(e) of `Moments` against (D / 2) ln(1 + 1/e²),
    which is what the global form is at a noise of e root mean squares. The interval's ends are the
    cuts found with r(e) at either end of its jackknife interval. None if the class form is not the
    smaller at the last cut.
    """
    found = [_first_from_which(rows, noise, end) for end in (0, -1, 1)]
    if found[0] is None:
        return None
    value, low, high = (1.0 if x is None else x for x in found)
    return Quantity(
        value=value,
        low=min(low, value),
        high=max(high, value),
        unit="share of operations",
        kind=Kind.MODEL,
        n=len(rows),
        direction=Direction.ESTIMATE,
        assumptions=("noise is stated for comparison, in root mean squares of the features",),
    )


def _first_from_which(rows: Sequence[Mapping[str, Any]], noise: float, end: int) -> float | None:
    tighter = [_difference(row, noise)[end] < 0 for row in rows]
    first = next((i for i in range(len(rows)) if all(tighter[i:])), None)
    return None if first is None else float(rows[first]["depth"])


def _difference(row: Mapping[str, Any], noise: float) -> tuple[float, float, float]:
    """Class form less global form in nats: value, then the upper and the lower end."""
    own = float(row["values"][f"leak({noise})"])
    overall = float(row["features"]) / 2 * math.log1p(noise**-2)
    found = log_jackknife(own, row["replicates"][f"leak({noise})"])
    factor = math.inf if found is None else found.factor()
    return own - overall, own * factor - overall, own / factor - overall


def _share_tighter(rows: Sequence[Mapping[str, Any]], noise: float, network: str) -> Reading:
    share = sum(_difference(row, noise)[0] < 0 for row in rows) / len(rows)
    return Reading(
        measured=f"share of cuts where the class form is the tighter, noise {noise:g}",
        subject=network,
        quantity=Quantity.exact(share, unit="share", kind=Kind.MODEL, n=len(rows)),
    )
