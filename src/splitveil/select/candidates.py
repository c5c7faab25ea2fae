"""Candidates: every cut under every release that a run attacked, with what each costs and leaks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from splitveil.audit.sent import PLAIN
from splitveil.audit.verdict import Finding, findings
from splitveil.errors import BadPlan
from splitveil.quantities import Quantity
from splitveil.records import Outcome, Status, Task
from splitveil.select.energy import Energy
from splitveil.select.link import Link
from splitveil.select.met import missing_attacks
from splitveil.select.payload import payload_bytes
from splitveil.select.profile import Profile
from splitveil.select.reading import Records


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A cut under a release.

    `leakage` is the share that the best attack found recovers, `attack` its recipe, `attacked_at`
    the id of the cut where it was run, this one or a deeper one. `missing` are attacks that other
    candidates met and this one did not: its leakage may only look small. `accuracy` is None where
    it was not measured, `latency` (of a median image) and `latency_p95` (what few exceed) where no
    link is given. `payload` counts bytes of one image before entropy coding, all tensors that cross
    together; `memory` the device's weights and largest live activations in bytes; `energy` joules
    of the device for one image, None where no joules are given.
    """

    cut: str
    name: str
    depth: float
    release: str
    leakage: Quantity
    attack: str
    attacked_at: str = ""
    missing: tuple[str, ...] = ()
    accuracy: Quantity | None = None
    latency: Quantity | None = None
    latency_p95: Quantity | None = None
    edge_seconds: Quantity | None = None
    cloud_seconds: Quantity | None = None
    payload: int | None = None
    memory: int | None = None
    energy: float | int | None = None
    edge_parameters: int | None = None
    bound: Quantity | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """What a person calls it."""
        return self.name if self.release == PLAIN else f"{self.name} with {self.release}"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        plain = {
            name: getattr(self, name)
            for name in ("cut", "name", "depth", "release", "attack", "attacked_at")
        }
        numbers = {
            name: None if (value := getattr(self, name)) is None else value.to_json()
            for name in (
                "leakage",
                "accuracy",
                "latency",
                "latency_p95",
                "edge_seconds",
                "cloud_seconds",
                "bound",
            )
        }
        costs = {
            name: getattr(self, name) for name in ("payload", "memory", "energy", "edge_parameters")
        }
        return {**plain, "missing": list(self.missing), **numbers, **costs}


def read_candidates(
    records: Records,
    *,
    link: Link | None = None,
    profile: Profile | None = None,
    energy: Energy | None = None,
) -> tuple[Candidate, ...]:
    """The candidates of a run in order of depth.

    Where features go out as they are, an attack on a deeper cut counts at a shallower one too:
    whoever sees the shallow one can compute the deep one. Attacks are compared on validation
    images; their leakage is that on test images.

    Args:
        records: of a run, from `read_records`.
        link: gives each candidate its latency.
        profile: times of the device, in place of those of the machine that ran the audit.
        energy: gives each candidate its joules.

    Raises:
        BadPlan: if no attack has ended, or the profile is of another model.
    """
    costs = {(entry.get("cut", entry))["id"]: entry for entry in records.manifest["cuts"]}
    order = {cut: index for index, cut in enumerate(costs)}
    found = findings(records.outcomes, order)
    if not found:
        raise BadPlan(f"no attack has ended in {records.path}: run the audit to its end first")
    if profile is not None:
        profile.check(records.manifest)
    best = _reach(found, order)
    missing = missing_attacks(records.outcomes, records.summary.get("not_attacked", ()))
    accuracy = _uncut_accuracy(records.outcomes)
    measured = _measured_payloads(records.outcomes)
    return tuple(
        _candidate(
            one,
            best=best.get(id(one), one),
            entry=costs[one.cut],
            missing=missing.get((one.cut, one.release), ()),
            accuracy=accuracy if one.release == PLAIN else one.utility,
            sent_bytes=measured.get((one.cut, one.release)),
            link=link,
            profile=profile,
            energy=energy,
        )
        for one in sorted(found, key=lambda one: order[one.cut])
    )


def _reach(found: Sequence[Finding], order: Mapping[str, int]) -> dict[int, Finding]:
    """For each finding without a release, the best one there or deeper, by validation error."""
    plain = sorted((one for one in found if one.release == PLAIN), key=lambda one: -order[one.cut])
    best: Finding | None = None
    reached: dict[int, Finding] = {}
    for one in plain:
        if best is None or _validation(one) <= _validation(best):
            best = one
        reached[id(one)] = best
    return reached


def _validation(finding: Finding) -> float:
    return finding.best.quantities["validation_mse"].value


def _uncut_accuracy(outcomes: Sequence[Outcome]) -> Quantity | None:
    for one in outcomes:
        if one.trial.task is Task.UTILITY and one.trial.cut == "*" and one.status is Status.DONE:
            return next(iter(one.quantities.values()), None)
    return None


def _measured_payloads(outcomes: Sequence[Outcome]) -> dict[tuple[str, str], int]:
    """Bytes of one image by (cut, release), where the audit asked the release itself."""
    return {
        (one.trial.cut, one.trial.release): int(one.details["payload"])
        for one in outcomes
        if one.trial.task is Task.UTILITY and one.status is Status.DONE and "payload" in one.details
    }


def _candidate(
    finding: Finding,
    *,
    best: Finding,
    entry: Mapping[str, Any],
    missing: tuple[str, ...],
    accuracy: Quantity | None,
    sent_bytes: int | None,
    link: Link | None,
    profile: Profile | None,
    energy: Energy | None,
) -> Candidate:
    cut = entry.get("cut", entry)
    edge, cloud = (Quantity.from_json(entry[f"{side}_seconds"]) for side in ("edge", "cloud"))
    slow_edge, slow_cloud = _p95(entry, "edge", edge), _p95(entry, "cloud", cloud)
    if profile is not None:
        edge = profile.edge_seconds(cut["id"], cut["name"])
        slow_edge = profile.edge_p95.get(cut["id"], edge)
    payload = sent_bytes
    if payload is None:
        payload = payload_bytes(finding.release, entry["bytes_fp32"] // 4)
    latency = latency_p95 = None
    if link is not None and payload is not None:
        latency = link.latency(edge, payload, cloud)
        latency_p95 = link.latency_p95(slow_edge, payload, slow_cloud)
    return Candidate(
        cut=cut["id"],
        name=cut["name"],
        depth=cut["depth"],
        release=finding.release,
        leakage=best.leakage,
        attack=best.best.trial.method,
        attacked_at=best.cut,
        missing=missing,
        accuracy=accuracy,
        latency=latency,
        latency_p95=latency_p95,
        edge_seconds=edge,
        cloud_seconds=cloud,
        payload=payload,
        memory=entry.get("edge_bytes"),
        energy=None if energy is None else energy.joules(entry.get("edge_flops"), payload),
        edge_parameters=entry["edge_parameters"],
        bound=finding.bound,
    )


def _p95(entry: Mapping[str, Any], side: str, median: Quantity) -> Quantity:
    """The 95th percentile of a side's time; the median where older records hold no more."""
    found = entry.get(f"{side}_p95")
    return median if found is None else Quantity.from_json(found)
