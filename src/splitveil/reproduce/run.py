"""Runs a plan's arms in a folder, one record an arm, and goes on where it was stopped."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

from splitveil.audit.environment import this_environment
from splitveil.audit.executors import Done, InProcess, Processes, Work
from splitveil.audit.store import Store, open_run, scope_of
from splitveil.audit.workbench import one_thread
from splitveil.errors import AuditError, UnknownName
from splitveil.naming import one_line
from splitveil.records import Outcome, Status, Trial
from splitveil.reproduce import PAPERS
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.claims import Finding
from splitveil.reproduce.experiment import Arm, ArmMissing, Evidence, Measured, Paper, Plan, Scale
from splitveil.reproduce.page import notes, table


@dataclass(frozen=True)
class Ended:
    """An arm ended: the `done`-th of `of` that were to do; `left` are declared minutes to go."""

    arm: Arm
    outcome: Outcome
    done: int
    of: int
    left: float


OnArm: TypeAlias = Callable[[Ended], None]


@dataclass(frozen=True, kw_only=True)
class Reproduced:
    """What a run found: one finding a claim, and the CPU minutes declared and really spent.

    `failed` are the outcomes of arms that failed, `pending` how many have not run.
    """

    path: Path
    findings: tuple[Finding, ...]
    declared_minutes: float
    spent_minutes: float
    failed: tuple[Outcome, ...]
    pending: int
    pictures: tuple[Path, ...] = ()


def load_paper(name: str) -> Paper:
    """The experiments of a paper by its short name.

    Raises:
        UnknownName: if there is none.
    """
    if name not in PAPERS:
        raise UnknownName("paper", name, PAPERS)
    paper: Paper = import_module(f"splitveil.reproduce.{name}").PAPER
    return paper


def scope(paper: Paper) -> str:
    """What all records of a paper share; scales and seeds are settings of the arms."""
    return scope_of(reproduce=paper.name, revision=paper.revision)


def ignore(ended: Ended) -> None:
    """Listen to nothing."""


def reproduce(plan: Plan, out: Path, *, jobs: int = 1, on_arm: OnArm = ignore) -> Reproduced:
    """Run the arms of a plan that `out` does not hold yet, judge, and store findings and pictures.

    Arms run one at a time, or on `jobs` worker processes; each is one line in the folder's records,
    written whole, so a kill costs the running arm alone. Arms that failed before run again. Also
    after Ctrl-C everything that ended is there.

    Raises:
        BadPlan: if the folder holds other things, or another run is writing there.
        StorageFailed: if a record cannot be written.
    """
    key = scope(plan.paper)
    with Store(out) as store:
        store.claim(key)
        store.write_json("manifest.json", _manifest(plan, key))
        store.mend()
        evidence = Evidence.of(store, key)
        todo = [arm for arm in plan.arms if evidence.find(arm) is None]
        with one_thread():
            _run(plan, todo, store, key, jobs, on_arm)
        found = judge(plan, out)
        store.write_json("findings.json", _summary(plan, found))
        store.write_text("findings.md", table(found.findings) + "\n" + notes(found.findings))
        return found


def judge(plan: Plan, out: Path) -> Reproduced:
    """Findings from what a folder holds, nothing run; pictures are drawn afresh.

    Raises:
        BadPlan: if there is no run at `out`.
    """
    evidence = Evidence.of(open_run(out), scope(plan.paper))
    outcomes = [evidence.outcome(arm) for arm in plan.arms]
    return Reproduced(
        path=out,
        findings=plan.findings(evidence),
        declared_minutes=plan.minutes,
        spent_minutes=evidence.cpu_minutes(plan.arms),
        failed=tuple(one for one in outcomes if one is not None and one.status is Status.FAILED),
        pending=sum(one is None for one in outcomes),
        pictures=_draw(plan, evidence, out / "figures"),
    )


def _draw(plan: Plan, evidence: Evidence, folder: Path) -> tuple[Path, ...]:
    folder.mkdir(exist_ok=True)
    for draw in plan.paper.draws:
        try:
            draw(evidence, plan.scale, folder)
        except ArmMissing:
            continue
    return tuple(sorted(folder.iterdir()))


def _run(plan: Plan, todo: Sequence[Arm], store: Store, key: str, jobs: int, on_arm: OnArm) -> None:
    if not todo:
        return
    arms = {arm.trial(key).id: arm for arm in todo}
    queue = _Queue([arm.trial(key) for arm in todo])
    left = math.fsum(arm.minutes for arm in todo)
    made = _MakeWork(plan.paper.name, plan.scale, store.path)
    local = _Desk(arms, Bench(store))
    results = (
        InProcess().run(lambda: local, queue) if jobs <= 1 else Processes(jobs).run(made, queue)
    )
    for number, done in enumerate(results, start=1):
        arm = arms[done.trial.id]
        outcome = done.outcome or _lost(done)
        if done.arrays:
            store.write_artefact(outcome.artefact, done.arrays)
        store.append(outcome)
        left -= arm.minutes
        on_arm(Ended(arm, outcome, number, len(todo), max(0.0, left)))


@dataclass
class _Queue:
    trials: list[Trial]

    def next(self, last: Trial | None) -> Trial | None:
        return self.trials.pop(0) if self.trials else None


@dataclass(frozen=True)
class _Desk:
    """Does one arm; whatever goes wrong becomes its reason."""

    arms: dict[str, Arm]
    bench: Bench = field(default_factory=Bench)

    def __call__(self, trial: Trial) -> Done:
        arm = self.arms[trial.id]
        wall, cpu = time.monotonic(), time.process_time()
        measured, status, reason = Measured(), Status.DONE, ""
        try:
            measured = arm.run(self.bench)
        except AuditError as error:
            status, reason = Status.FAILED, f"{type(error).__name__}: {error}"
        except Exception as error:
            status, reason = Status.FAILED, one_line(error)
        outcome = Outcome(
            trial=trial,
            status=status,
            environment=this_environment("cpu"),
            seconds=round(time.monotonic() - wall, 3),
            reason=" ".join(reason.split()),
            quantities=dict(measured.quantities),
            details={
                **measured.details,
                "cpu_seconds": round(time.process_time() - cpu, 3),
                "declared_minutes": arm.minutes,
            },
            artefact=trial.id if measured.arrays else "",
        )
        return Done(trial, outcome, measured.arrays)


@dataclass(frozen=True)
class _MakeWork:
    """Sets up a worker process: papers are found by name, arms by what they are."""

    paper: str
    scale: Scale
    path: Path

    def __call__(self) -> Work:
        import torch

        torch.set_num_threads(1)
        paper = load_paper(self.paper)
        key = scope(paper)
        arms = {arm.trial(key).id: arm for arm in paper.plan(self.scale).arms}
        return _Desk(arms, Bench(open_run(self.path)))


def _lost(done: Done) -> Outcome:
    """The record of an arm whose worker died."""
    return Outcome(
        trial=done.trial,
        status=Status.FAILED,
        environment=this_environment("cpu"),
        seconds=0.0,
        reason=done.reason,
    )


def _manifest(plan: Plan, key: str) -> dict[str, object]:
    return {
        "reproduce": plan.paper.name,
        "title": plan.paper.title,
        "scope": key,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "scale": asdict(plan.scale),
        "claims": [claim.to_json() for claim in plan.claims],
        "declared_minutes": plan.minutes,
        "environment": asdict(this_environment("cpu")),
    }


def _summary(plan: Plan, found: Reproduced) -> dict[str, object]:
    return {
        "reproduce": plan.paper.name,
        "scale": asdict(plan.scale),
        "complete": not found.failed and not found.pending,
        "declared_minutes": round(found.declared_minutes, 2),
        "spent_minutes": round(found.spent_minutes, 2),
        "findings": [one.to_json() for one in found.findings],
        "failed": [{"arm": one.trial.method, "reason": one.reason} for one in found.failed],
    }
