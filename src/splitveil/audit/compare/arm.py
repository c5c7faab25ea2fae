"""One defended network: trained, split, attacked by those who know the defence."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitveil.attacks import ClassMean, MeanImage
from splitveil.audit.course import record
from splitveil.audit.environment import this_environment
from splitveil.audit.grid import ACCURACY, EVERY_CUT
from splitveil.audit.plan import ThreatSettings
from splitveil.audit.sent import PLAIN
from splitveil.audit.store import Store, scope_of
from splitveil.audit.subject import Subject, make_subject
from splitveil.audit.verdict import Finding, findings
from splitveil.audit.workbench import Workbench
from splitveil.data import Splits
from splitveil.data.training import TrainingImages
from splitveil.defences import harden, parse_components
from splitveil.errors import BadPlan
from splitveil.models import LoadedModel, PixelModel
from splitveil.models.weights import model_digest
from splitveil.partition import CutCost, Partition, measure_costs
from splitveil.quantities import Quantity
from splitveil.records import Outcome, Status, Task, Trial, digest
from splitveil.release import Identity, Release
from splitveil.release.stored import release_bytes
from splitveil.rng import Rng
from splitveil.training import Schedule

NONE = "onehot"
"""The defence that is none: the same training with the plain label."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Bench:
    """What all arms share: the network, its images, how it is trained and attacked."""

    model: LoadedModel
    images: TrainingImages
    splits: Splits
    schedule: Schedule
    patience: int | None
    attacks: tuple[str, ...]
    threat: ThreatSettings
    seed: int
    device: str
    folder: Path

    def arm(self, *named: str) -> Path:
        """Where the checkpoint and records of what is so named lie."""
        return self.folder / "arms" / digest(list(named))


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """A defence at one strength, at one cut, before it is attacked.

    `accuracy` is on validation images; `content` tells apart what was made elsewhere under one
    name, and is empty for what was trained here; `statements` are those of `Statement.to_json`
    about its release, by the hardening that fitted it.
    """

    text: str
    place: str
    partition: Partition
    network: PixelModel
    accuracy: Quantity
    content: bytes = b""
    statements: tuple[Mapping[str, Any], ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """What it is called in a folder: defence, cut, and a digest of what was made elsewhere."""
        made = (sha256(self.content).hexdigest()[:16],) if self.content else ()
        return (self.text, self.place, *made)


@dataclass(frozen=True, eq=False, kw_only=True)
class Attacked:
    """What attackers got of an arm: the best, chosen on validation images, scored on test ones."""

    finding: Finding
    errors: NDArray[np.float64]
    accuracy: Quantity
    cost: CutCost
    payload: int
    failures: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        numbers = self.finding.best.quantities
        return {
            "attack": self.finding.best.trial.method,
            "attacks": self.finding.attacks,
            "word": self.finding.word,
            "leakage": self.finding.leakage.to_json(),
            "mse": numbers["mse"].to_json(),
            "validation_mse": numbers["validation_mse"].to_json(),
            "psnr": numbers["psnr"].to_json(),
            "accuracy": self.accuracy.to_json(),
            "bytes": self.payload,
            "edge_flops": self.cost.edge_flops,
            "edge_parameters": self.cost.edge_parameters,
            "edge_seconds": self.cost.edge_seconds.to_json(),
            "failures": list(self.failures),
        }


def train(
    bench: Bench, text: str, cut: str, on_epoch: Callable[[Any], None] = lambda state: None
) -> Trained:
    """Harden a copy of the network, or take up where that was stopped.

    Raises:
        BadPlan: if the defence cannot stand at this cut, or training diverges.
    """
    found = harden(
        bench.model.network,
        bench.images,
        parse_components(text),
        schedule=bench.schedule,
        rng=Rng(bench.seed).child("harden"),
        cut=cut,
        patience=bench.patience,
        folder=bench.arm(text, cut),
        device=bench.device,
        on_epoch=on_epoch,
    )
    assert found.partition is not None  # noqa: S101 - it was given a cut
    assert isinstance(found.network, PixelModel)  # noqa: S101 - a copy of the loaded one
    return Trained(
        text=text,
        place=cut,
        partition=found.partition,
        network=found.network,
        accuracy=found.accuracy,
        statements=tuple(statement.to_json() for statement in found.statements),
    )


def attack(bench: Bench, trained: Trained, on_trial: Callable[[Outcome], None]) -> Attacked:
    """Attack an arm with decoders trained after it is frozen; finished trials are kept.

    Raises:
        BadPlan: if no attack came to an end.
        StorageFailed: if records cannot be written.
    """
    folder = bench.arm(*trained.key)
    digest_now = model_digest(trained.network)
    model = replace(bench.model, network=trained.network, digest=digest_now)
    subject = make_subject(model, bench.splits, bench.device)
    cut, environment = trained.partition.cut, this_environment(bench.device)
    with Store(folder / "audit") as store:
        scope = scope_of(
            model=model.digest,
            data=bench.splits.digest,
            threat=asdict(bench.threat),
            utility=None,
        )
        store.claim(scope)
        store.mend()
        sent = _written(trained.partition.release)
        work = Workbench(
            subject=subject,
            threat=bench.threat,
            utility_name=None,
            environment=environment,
            wanted=(cut.id,),
            fitted={sent: trained.partition.release},
        )
        kept = {o.trial.id: o for o in store.outcomes() if o.status is Status.DONE}
        for trial in _trials(bench, scope, cut.id, sent):
            outcome = kept.get(trial.id) or record(store, work.do(trial), environment)
            on_trial(outcome)
        outcomes = store.outcomes()
        return _scored(trained, subject, outcomes, store)


def _written(release: Release) -> str:
    """What trials call a fitted release: by its content, wherever it lies."""
    if isinstance(release, Identity):
        return PLAIN
    return f"fitted({sha256(release_bytes(release)).hexdigest()[:16]})"


def _trials(bench: Bench, scope: str, cut: str, release: str) -> list[Trial]:
    rows = [
        (Task.ATTACK, EVERY_CUT, PLAIN, repr(MeanImage())),
        (Task.ATTACK, EVERY_CUT, PLAIN, repr(ClassMean())),
        (Task.UTILITY, cut, release, ACCURACY),
        *((Task.ATTACK, cut, release, method) for method in bench.attacks),
    ]
    return [
        Trial(scope=scope, task=task, cut=where, release=sent, method=method, seed=bench.seed)
        for task, where, sent, method in rows
    ]


def _scored(trained: Trained, subject: Subject, outcomes: list[Outcome], store: Store) -> Attacked:
    cut = trained.partition.cut
    failed = {
        f"{outcome.trial.method}: {outcome.reason}"
        for outcome in outcomes
        if outcome.status is Status.FAILED
    }
    found = findings(outcomes, {cut.id: 0})
    if not found:
        raise BadPlan(f"no attack on {trained.text} at {trained.place} ended: {sorted(failed)}")
    (finding,) = found
    scored = _of(outcomes, Task.UTILITY)
    (cost,) = measure_costs(subject.traced, [cut], subject.test.x[:1])
    errors = store.artefact(finding.best.artefact)["mse_test"].astype(np.float64)
    return Attacked(
        finding=finding,
        errors=errors,
        accuracy=scored["accuracy"],
        cost=cost,
        payload=int(-(-trained.partition.release.bits(cut.layout.size) // 8)),
        failures=tuple(sorted(failed)),
    )


def _of(outcomes: list[Outcome], task: Task) -> Mapping[str, Quantity]:
    """The numbers of the one trial of a task."""
    done = [o for o in outcomes if o.trial.task is task and o.status is Status.DONE]
    if not done:
        reasons = [o.reason for o in outcomes if o.trial.task is task]
        raise BadPlan(f"the defended network could not be scored: {'; '.join(reasons)}")
    return done[-1].quantities
