"""The golden partition zone: where features stop telling images of one class apart, if anywhere."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from splitveil.audit.sent import PLAIN, sent_by
from splitveil.errors import BadPlan
from splitveil.numerics import LogJackknife, log_ratio
from splitveil.quantities import Quantity
from splitveil.records import Outcome, Status, Task
from splitveil.select.reading import Records, method_name

LEAST_FALL = 0.2
"""Share of nc1 that must go in one step."""
LEAST_Z = 3.0
"""Standard errors, paired between the two cuts, by which it must go."""
LEAST_CENTRE = 0.9
"""Share of the network's accuracy that the nearest class centre must reach."""
LEAST_ETA = 0.5
"""Error of the linear decoder in units of the class mean's."""
HIGH_FIDELITY = 0.02
"""The paper's threshold on mean squared error, summed over channels and meant over pixels."""
HIGH_FIDELITY_RULE = "high fidelity: mse summed over channels < 0.02"
"""The name of the post-hoc rule with the paper's threshold."""

COINCIDES = (
    "the zone starts where the features shrink most: R_c² added no evidence beyond down-sampling"
)


@dataclass(frozen=True, kw_only=True)
class CutEvidence:
    """What the records say of one cut; None where they say nothing.

    `before` is the last earlier cut of the same kind, with which this one is compared. `fall` is
    log(nc1 before / nc1 here) with its paired jackknife error; `leak_drop` maps each noise e to the
    drop of leak(e) in bits per input value; `shrink` is D before / D here; `eta` the error of
    `Ridge` and `attack` that of the best attack, both in units of the class mean's error.
    `attack_mse` is the best attack's error per value, `attack_mse_summed` its sum over channels, in
    which the paper's threshold is written. Where features always go through a release, `behind` is
    that: errors are of what it sends, all else of features before it.
    """

    cut: str
    name: str
    kind: str
    features: int
    before: str | None
    fall: LogJackknife | None
    leak_drop: Mapping[str, float]
    shrink: float | None
    centre_accuracy: Quantity | None
    eta: float | None
    attack: float | None
    attack_mse: Quantity | None
    attack_mse_summed: float | None
    edge_parameters: int
    edge_flops: int
    behind: str = ""

    @property
    def falls(self) -> bool | None:
        """Condition (i): nc1 falls by a fifth or more, and by more than three errors."""
        if self.fall is None:
            return None
        return self.fall.z > LEAST_Z and 1 - math.exp(-self.fall.log) >= LEAST_FALL

    @property
    def unreadable(self) -> bool | None:
        """Condition (iii): a linear decoder does at best half as well as it might.

        Behind a release one that does better would do so without, and one that does not may owe it
        to the release: then this is not known.
        """
        if self.eta is None or (self.behind and self.eta >= LEAST_ETA):
            return None
        return self.eta >= LEAST_ETA


@dataclass(frozen=True, kw_only=True)
class Zone:
    """Where the zone lies by each rule, and the evidence.

    `start` and `end` are cut ids by the robust rule, both None if there is no zone: an answer, and
    the one to expect where every token of a transformer crosses. `paper_raw` are the marks of the
    paper's own rule, which always answers; `jump` is where the best attack's error rises most from
    one cut to the next, `post_hoc` the first cut at which it exceeds the paper's threshold;
    `shrinks_most` is what the number of features alone would say. `sentences` say all this, with
    what the records lack. `undecided` are the cuts that meet what is known of the robust rule's
    conditions and of which one is not known: attacked further, one of them may start a zone.
    """

    start: str | None
    end: str | None
    paper_raw: tuple[str, ...]
    jump: str | None
    post_hoc: str | None
    shrinks_most: str | None
    evidence: tuple[CutEvidence, ...]
    sentences: tuple[str, ...]
    undecided: tuple[str, ...] = ()


def find_zone(
    records: Records, *, most_parameters: int | None = None, most_flops: int | None = None
) -> Zone:
    """Locate the golden partition zone from a run's records.

    Robust rule: the first cut, compared with the last earlier one of its kind, at which (i) nc1
    falls by a fifth or more with paired z > 3, (ii) the nearest class centre reaches 0.9 of the
    network's accuracy and (iii) the linear decoder's error is at least half of the class mean's.
    The zone ends at the last cut whose device half fits `most_parameters` and `most_flops`.

    Every figure behind it is a proxy or one attack's result: a zone is where to look, no bound.

    References:
        Golden Partition Zone, arXiv 2506.15412 (`paper_raw`, `post_hoc`).

    Raises:
        BadPlan: if the run holds no moments of its cuts.
    """
    evidence = read_evidence(records)
    accuracy, words = _reference_accuracy(records)
    found = [e for e in evidence if e.falls and e.unreadable and _separates(e, accuracy)]
    start = found[0] if found else None
    fitting = [e for e in evidence if _fits(e, most_parameters, most_flops)]
    end = fitting[-1] if fitting else None
    sentences = [*words, *_behind(records), *_missing(evidence)]
    if start is not None and (end is None or evidence.index(end) < evidence.index(start)):
        sentences.append(f"the zone would start at {start.name}, beyond what the device can run")
        start = None
    smallest = _shrinks_most(evidence)
    undecided = tuple(e.cut for e in evidence if _open(e, accuracy))
    if start is None:
        meets = "is known to meet" if undecided else "meets"
        sentences.append(f"no zone: no cut {meets} all three conditions within the limits")
    elif start.cut == smallest:
        sentences.append(COINCIDES)
    return Zone(
        start=None if start is None else start.cut,
        end=None if start is None or end is None else end.cut,
        paper_raw=_paper_marks(records, evidence),
        jump=_jump(evidence),
        post_hoc=_post_hoc(evidence),
        shrinks_most=smallest,
        evidence=tuple(evidence),
        sentences=tuple(sentences),
        undecided=undecided,
    )


def paper_raw_marks(radii: Sequence[float | int], *, calm: float = 0.2) -> tuple[int, ...]:
    """Positions marked by the paper's rule, from its raw radii at candidate cuts in order.

    Relative drops g_l = (V_(l-1) - V_l) / V_(l-1); marks at the largest and second largest, or at
    the largest alone if every |g| strictly between them is below `calm`. Always answers, mixes
    tensors of all kinds, and follows scale and width.

    Raises:
        BadPlan: with fewer than two radii, or one that is not positive.
    """
    if len(radii) < 2 or not all(0 < radius < math.inf for radius in radii):
        raise BadPlan(f"the paper's rule needs two or more positive radii, got {list(radii)}")
    drops = [1 - here / before for before, here in pairwise(radii)]
    order = sorted(range(len(drops)), key=lambda place: -drops[place])
    if len(order) < 2:
        return (order[0] + 1,)
    low, high = sorted(order[:2])
    if all(abs(drop) < calm for drop in drops[low + 1 : high]):
        return (order[0] + 1,)
    return (order[0] + 1, order[1] + 1)


def read_evidence(records: Records) -> list[CutEvidence]:
    """The evidence of every cut in order of depth.

    Raises:
        BadPlan: if the run holds no moments of its cuts.
    """
    details = _details(records)
    spread, replicates = details["cuts"], details.get("replicates", {})
    floor = _floor(records)
    channels = int(records.manifest["model"]["channels"])
    values = math.prod([channels, *records.manifest["model"]["size"]])
    latest: dict[str, str] = {}
    sizes: dict[str, int] = {}
    found = []
    for cost in records.manifest["cuts"]:
        cut = cost["cut"]
        key, kind = cut["id"], cut["kind"]
        size = sum(math.prod(p["shape"]) * p["multiplicity"] for p in cut["layout"]["parts"])
        before = latest.get(kind)
        own = {name: Quantity.from_json(q) for name, q in spread.get(key, {}).items()}
        past = {} if before is None else spread.get(before, {})
        best = _least(records, key)
        eta = _least(records, key, "Ridge")
        found.append(
            CutEvidence(
                cut=key,
                name=cut["name"],
                kind=kind,
                features=size,
                before=before,
                fall=_fall(past, own, replicates.get(before, {}), replicates.get(key, {})),
                leak_drop={
                    name[5:-1]: (float(past[name]["value"]) - q.value) / (values * math.log(2))
                    for name, q in own.items()
                    if name.startswith("leak(") and name in past
                },
                shrink=None if before is None else sizes[before] / size,
                centre_accuracy=own.get("centre_accuracy"),
                eta=None if eta is None or not floor else eta.value / floor,
                attack=None if best is None or not floor else best.value / floor,
                attack_mse=best,
                attack_mse_summed=None if best is None else channels * best.value,
                edge_parameters=int(cost["edge_parameters"]),
                edge_flops=int(cost["edge_flops"]),
                behind="" if (sent := sent_by(records.manifest)) == PLAIN else sent,
            )
        )
        latest[kind], sizes[key] = key, size
    return found


def _details(records: Records) -> Mapping[str, Any]:
    for outcome in records.outcomes:
        if outcome.trial.task is Task.MOMENTS and outcome.status is Status.DONE:
            return outcome.details
    raise BadPlan("this run holds no moments: run the audit again to the end of its cheap trials")


def _fall(
    past: Mapping[str, Any],
    own: Mapping[str, Quantity],
    past_replicates: Mapping[str, Sequence[float | None]],
    replicates: Mapping[str, Sequence[float | None]],
) -> LogJackknife | None:
    if "nc1" not in past or "nc1" not in own:
        return None
    return log_ratio(
        float(past["nc1"]["value"]),
        past_replicates.get("nc1", ()),
        own["nc1"].value,
        replicates.get("nc1", ()),
    )


def _attacks(records: Records) -> list[Outcome]:
    return [
        o
        for o in records.outcomes
        if o.trial.task is Task.ATTACK and o.status is Status.DONE and "mse" in o.quantities
    ]


def _least(records: Records, cut: str, method: str | None = None) -> Quantity | None:
    """The test error of the attack that did best on validation images, on what is always sent."""
    sent = sent_by(records.manifest)
    tried = [
        o
        for o in _attacks(records)
        if (o.trial.cut, o.trial.release) == (cut, sent)
        and method in (None, method_name(o.trial.method))
        and (o.headline or method is not None)
    ]
    if not tried:
        return None
    best = min(tried, key=lambda o: o.quantities.get("validation_mse", o.quantities["mse"]).value)
    return best.quantities["mse"]


def _floor(records: Records) -> float | None:
    """Error of the class mean, else of the mean image."""
    for method in ("ClassMean", "MeanImage"):
        for outcome in _attacks(records):
            if method_name(outcome.trial.method) == method:
                return outcome.quantities["mse"].value
    return None


def _reference_accuracy(records: Records) -> tuple[float | None, list[str]]:
    """What the nearest centre is measured against."""
    kind = _details(records).get("classes", "labels")
    if kind == "clusters":
        return 1.0, ["no labels: clusters of the last cut's features stand in for classes"]
    for outcome in records.outcomes:
        plain = (outcome.trial.cut, outcome.trial.release) == ("*", PLAIN)
        if plain and outcome.trial.task is Task.UTILITY and "accuracy" in outcome.quantities:
            return outcome.quantities["accuracy"].value, []
    return None, ["the network's accuracy is not known, so no nearest centre can be judged"]


def _separates(evidence: CutEvidence, accuracy: float | None) -> bool:
    """Condition (ii)."""
    centre = evidence.centre_accuracy
    return centre is not None and accuracy is not None and centre.value >= LEAST_CENTRE * accuracy


def _open(evidence: CutEvidence, accuracy: float | None) -> bool:
    """Whether nothing speaks against a start here, and something is not known."""
    centre = evidence.centre_accuracy
    known = centre is not None and accuracy is not None
    conditions = (
        False if evidence.before is None else evidence.falls,
        _separates(evidence, accuracy) if known else None,
        evidence.unreadable,
    )
    return False not in conditions and None in conditions


def _fits(evidence: CutEvidence, parameters: int | None, flops: int | None) -> bool:
    return (parameters is None or evidence.edge_parameters <= parameters) and (
        flops is None or evidence.edge_flops <= flops
    )


def _behind(records: Records) -> list[str]:
    """What a release that is always there does to the answer."""
    sent = sent_by(records.manifest)
    if sent == PLAIN:
        return []
    return [
        f"features always go through {sent}: errors are of what it sends, falls and centres of "
        "features before it; where Ridge fails, the release may be why, so no zone can start "
        "before an audit without it"
    ]


def _missing(evidence: Sequence[CutEvidence]) -> list[str]:
    lacks = {
        "an error of Ridge": [e.name for e in evidence if e.eta is None],
        "a nearest-centre accuracy": [e.name for e in evidence if e.centre_accuracy is None],
    }
    return [
        f"{len(names)} of {len(evidence)} cuts lack {what}, so no zone can start there: "
        + ", ".join(names[:3])
        + (", ..." if len(names) > 3 else "")
        for what, names in lacks.items()
        if names
    ]


def _shrinks_most(evidence: Sequence[CutEvidence]) -> str | None:
    steps = [(e.shrink, -place, e.cut) for place, e in enumerate(evidence) if e.shrink is not None]
    return max(steps)[2] if steps else None


def _paper_marks(records: Records, evidence: Sequence[CutEvidence]) -> tuple[str, ...]:
    probe = _details(records).get("paper_raw", {}).get("radii", {})
    known = [(e.cut, float(probe[e.cut])) for e in evidence if probe.get(e.cut, 0) > 0]
    if len(known) < 2:
        return ()
    return tuple(known[place][0] for place in paper_raw_marks([radius for _, radius in known]))


def _jump(evidence: Sequence[CutEvidence]) -> str | None:
    known = [(e.cut, e.attack_mse.value) for e in evidence if e.attack_mse is not None]
    steps = [
        (here / before, -place, cut)
        for place, ((_, before), (cut, here)) in enumerate(pairwise(known))
        if here > before > 0
    ]
    return max(steps)[2] if steps else None


def _post_hoc(evidence: Sequence[CutEvidence]) -> str | None:
    for one in evidence:
        if one.attack_mse_summed is not None and one.attack_mse_summed >= HIGH_FIDELITY:
            return one.cut
    return None
