"""Candidates: every cut under every release that a run attacked, with what each costs and leaks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from splitveil.audit.verdict import PLAIN, Finding, findings
from splitveil.errors import BadPlan
from splitveil.quantities import Kind, Quantity
from splitveil.records import Outcome, Status, Task
from splitveil.select.met import missing_attacks
from splitveil.select.payload import payload_bytes
from splitveil.select.profile import Profile
from splitveil.select.reading import Records


@dataclass(frozen=True, kw_only=True)
class Link:
    """The way to the cloud: `bandwidth` in bit per second, `round_trip` in seconds.

    Raises:
        BadPlan: if the bandwidth is not above zero or the round trip is negative.
    """

    bandwidth: float | int
    round_trip: float | int = 0.0

    def __post_init__(self) -> None:
        if not self.bandwidth > 0 or not 0 <= self.round_trip < math.inf:
            raise BadPlan(
                "a link needs a bandwidth above zero and a round trip of zero or more, got "
                f"{self.bandwidth} bit/s and {self.round_trip} s"
            )

    def latency(self, edge: Quantity, payload: int, cloud: Quantity) -> Quantity:
        """Time of one image: edge + round trip + 8 payload / bandwidth + cloud, in seconds.

        The interval adds the ends of both; by the union bound its level is their levels' sum less
        one. It is that of a median image on an idle link, and silent on queues, retries and
        protocol headers.
        """
        way = self.round_trip + 8 * payload / self.bandwidth
        return Quantity(
            value=edge.value + way + cloud.value,
            low=edge.low + way + cloud.low,
            high=edge.high + way + cloud.high,
            unit="s",
            kind=Kind.MEASURED,
            n=min(edge.n, cloud.n),
            level=max(0.0, round(edge.level + cloud.level - 1, 4)),
            assumptions=("one image at a time", "an idle link of constant bandwidth"),
        )


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A cut under a release.

    `leakage` is the share that the best attack found recovers, `attack` its recipe, `attacked_at`
    the id of the cut where it was run, this one or a deeper one. `missing` are attacks that other
    candidates met and this one did not: its leakage may only look small. `accuracy` is None where
    it was not measured, `latency` where no link is given. `payload` counts bytes of one image
    before entropy coding; `memory` the device's weights and largest live activations in bytes.
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
    edge_seconds: Quantity | None = None
    cloud_seconds: Quantity | None = None
    payload: int | None = None
    memory: int | None = None
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
            for name in ("leakage", "accuracy", "latency", "edge_seconds", "cloud_seconds", "bound")
        }
        costs = {name: getattr(self, name) for name in ("payload", "memory", "edge_parameters")}
        return {**plain, "missing": list(self.missing), **numbers, **costs}


def read_candidates(
    records: Records, *, link: Link | None = None, profile: Profile | None = None
) -> tuple[Candidate, ...]:
    """The candidates of a run in order of depth.

    Where features go out as they are, an attack on a deeper cut counts at a shallower one too:
    whoever sees the shallow one can compute the deep one. Attacks are compared on validation
    images; their leakage is that on test images.

    Args:
        records: of a run, from `read_records`.
        link: gives each candidate its latency.
        profile: times of the device, in place of those of the machine that ran the audit.

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
    return tuple(
        _candidate(
            one,
            best=best.get(id(one), one),
            entry=costs[one.cut],
            missing=missing.get((one.cut, one.release), ()),
            accuracy=accuracy if one.release == PLAIN else one.utility,
            link=link,
            profile=profile,
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


def _candidate(
    finding: Finding,
    *,
    best: Finding,
    entry: Mapping[str, Any],
    missing: tuple[str, ...],
    accuracy: Quantity | None,
    link: Link | None,
    profile: Profile | None,
) -> Candidate:
    cut = entry.get("cut", entry)
    edge, cloud = (Quantity.from_json(entry[f"{side}_seconds"]) for side in ("edge", "cloud"))
    if profile is not None:
        edge = profile.edge_seconds(cut["id"], cut["name"])
    payload = payload_bytes(finding.release, entry["bytes_fp32"] // 4)
    latency = None
    if link is not None and payload is not None:
        latency = link.latency(edge, payload, cloud)
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
        edge_seconds=edge,
        cloud_seconds=cloud,
        payload=payload,
        memory=entry.get("edge_bytes"),
        edge_parameters=entry["edge_parameters"],
        bound=finding.bound,
    )
