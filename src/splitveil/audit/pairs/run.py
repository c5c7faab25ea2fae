"""Runs an audit of pairs: the same records, verdict and report as that of a model."""

import os
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from splitveil.attacks import ClassMean, MeanImage
from splitveil.attacks.grid import Grid as Maps
from splitveil.audit.course import INTERRUPTED, finish, record
from splitveil.audit.estimates import Sizes, expected_bytes, expected_seconds, measure_rate
from splitveil.audit.events import Begun, Ended, OnEvent, Stage, Warned, ignore
from splitveil.audit.executors import Executor, InProcess, Make, Processes, Work
from splitveil.audit.grid import Grid
from splitveil.audit.manifest import plan_of
from splitveil.audit.pairs.bench import MakePairsBench, PairsBench, open_bench
from splitveil.audit.pairs.case import Case
from splitveil.audit.plan import AuditPlan
from splitveil.audit.preview import Preview
from splitveil.audit.recipes import read_attack
from splitveil.audit.schedule import DEAR, Job, Left, Schedule
from splitveil.audit.scoring import SHOWN, pixels
from splitveil.audit.settings import to_toml
from splitveil.audit.store import Run, Store, open_run, scope_of
from splitveil.audit.verdict import PAIRS, summarise
from splitveil.audit.workbench import one_thread
from splitveil.errors import BadInput
from splitveil.records import Status, Task, Trial
from splitveil.release import Identity

_EVERY_CUT = "*"
_ATTACKS = (
    "NearestAuxiliary()",
    "NearestFeatures()",
    "PatchRidge()",
    "Ridge()",
    "PartialLeastSquares()",
)


@dataclass(frozen=True)
class _Ready:
    bench: PairsBench

    def __call__(self) -> Work:
        return self.bench.do


def run_pairs(
    plan: AuditPlan,
    folder: Path,
    *,
    on_event: OnEvent = ignore,
    executor: Executor | None = None,
) -> Run:
    """Attack private pairs with what the attacker's pairs teach, and store what came of it.

    A third of the private pairs chooses the attack, the others score it. A run that was stopped is
    taken up where it was. An attack that would have to send images of its own fails with
    KnowledgeMissing, and the audit goes on.

    Args:
        plan: with `pairs`; its seed fixes every number.
        folder: the run's.
        on_event: is told how it goes.
        executor: where trials run; None takes `plan.jobs` worker processes, or this process where
            jobs is 0.

    Raises:
        BadInput: one line with what is wrong with the files or the plan.
        StorageFailed: if something cannot be written; what was written stays.
        WorkerLost: if worker processes cannot be kept alive.
    """
    with one_thread():
        bench = _opened(plan, on_event)
        with Store(folder) as store:
            return _run(plan, bench, store, on_event, executor)


def preview_pairs(plan: AuditPlan, *, on_event: OnEvent = ignore) -> Preview:
    """What `run_pairs` would do, without attacking anything.

    Raises:
        BadInput: as `run_pairs`.
    """
    with one_thread():
        bench = _opened(plan, on_event)
        jobs, left = plan_jobs(plan, bench.case, _scope(plan, bench.case))
    cut = bench.case.cut
    grid = Grid(jobs=tuple(jobs), left=tuple(left))
    return Preview(
        trials=tuple(job.trial for job in jobs),
        left=grid.left,
        cuts=(cut.name,),
        names={cut.id: cut.name},
        seconds=grid.seconds(plan.workers),
        bytes=grid.memory(plan.workers),
    )


def _opened(plan: AuditPlan, on_event: OnEvent) -> PairsBench:
    """Check the plan and read its pairs."""
    plan.check_pairs()
    for text in plan.attacks:
        read_attack(text)
    on_event(Stage("Reading pairs"))
    return open_bench(plan)


def _scope(plan: AuditPlan, case: Case) -> str:
    return scope_of(
        pairs=case.digests,
        threat=asdict(plan.threat),
        pixel_range=plan.data.pixel_range,
        division=plan.seed,
    )


def _run(
    plan: AuditPlan, bench: PairsBench, store: Store, on_event: OnEvent, executor: Executor | None
) -> Run:
    case = bench.case
    scope = _scope(plan, case)
    store.claim(scope)
    for message in store.mend():
        on_event(Warned(message))
    manifest = describe(plan, bench, scope)
    if (store.path / "manifest.json").exists():
        manifest["started"] = store.manifest["started"]
    store.write_json("manifest.json", manifest)
    store.write_text("splitveil.toml", to_toml(plan))
    if case.test.is_image:
        originals = {"images": pixels(case.test.x[:SHOWN])}
        if case.test.y is not None:
            originals["labels"] = case.test.y[:SHOWN].cpu().numpy()
        store.write_artefact("originals", originals)
    jobs, left = plan_jobs(plan, case, scope)
    kept = {o.trial.id for o in store.outcomes() if o.status is Status.DONE}
    todo = [job for job in jobs if job.trial.id not in kept]
    schedule = Schedule(todo, seconds=plan.limits.seconds)
    workers = max(1, plan.workers)
    on_event(
        Begun(
            todo=len(todo),
            kept=len(jobs) - len(todo),
            cuts=1,
            jobs=plan.workers,
            seconds=schedule.remaining(workers),
        )
    )
    complete = False
    try:
        _trials(plan, bench, store, schedule, on_event, executor)
        complete = True
    except BaseException:
        schedule.abandon(INTERRUPTED)
        raise
    finally:
        outcomes = store.outcomes()
        done = {o.trial.id for o in outcomes if o.status is Status.DONE}
        missing = [one for one in (*left, *schedule.left) if one.trial.id not in done]
        on_event(finish(store, summarise(outcomes, missing, manifest, complete=complete)))
    return open_run(store.path)


def _trials(
    plan: AuditPlan,
    bench: PairsBench,
    store: Store,
    schedule: Schedule,
    on_event: OnEvent,
    executor: Executor | None,
) -> None:
    count, workers = len(schedule.jobs), max(1, plan.workers)
    make: Make = _Ready(bench)
    if executor is None and plan.workers:
        executor, make = Processes(plan.workers), MakePairsBench(plan, bench.case.digests)
    with closing((executor or InProcess()).run(make, schedule)) as running:
        for ended, done in enumerate(running, start=1):
            outcome = record(store, done, bench.environment)
            schedule.finish(done.trial, outcome.seconds)
            where = "all cuts" if done.trial.cut == _EVERY_CUT else bench.case.cut.name
            total = count - len(schedule.left)
            on_event(Ended(outcome, where, ended, total, schedule.remaining(workers)))


def plan_jobs(plan: AuditPlan, case: Case, scope: str) -> tuple[list[Job], list[Left]]:
    """Every trial of a plan, and those that cannot apply with why."""
    sizes = Sizes(
        auxiliary=len(case.auxiliary),
        validation=len(case.validation),
        test=len(case.test),
        shape=tuple(case.test.x.shape[1:]),
        flops=0.0,
        rate=measure_rate(),
    )
    decoder = f"Decoder(epochs={plan.limits.epochs})"
    own = plan.attacks or (*_ATTACKS, decoder)
    methods = [(read_attack(text)[0], text in plan.attacks or text == decoder) for text in own]
    cells = [(_EVERY_CUT, repr(floor), plan.seed) for floor in (MeanImage(), ClassMean())]
    for method, repeated in methods:
        seeds = plan.limits.seeds if repeated else 1
        cells += [(case.cut.id, method, seed) for seed in range(plan.seed, plan.seed + seeds)]
    jobs: list[Job] = []
    left: list[Left] = []
    for cut_id, method, seed in dict.fromkeys(cells):
        trial = Trial(
            scope=scope,
            task=Task.ATTACK,
            cut=cut_id,
            release=repr(Identity()),
            method=method,
            seed=seed,
        )
        cut = None if cut_id == _EVERY_CUT else case.cut
        reason = "" if plan.attacks else _alien(method, case)
        if reason:
            left.append(Left(trial=trial, reason=reason))
            continue
        seconds = expected_seconds(Task.ATTACK, method, cut, sizes)
        rank = DEAR if method.startswith(("Ridge(", "Decoder(")) else 1
        jobs.append(Job(trial=trial, seconds=seconds, bytes=expected_bytes(cut, sizes), rank=rank))
    return jobs, left


def _alien(method: str, case: Case) -> str:
    if not method.startswith("PatchRidge("):
        return ""
    try:
        Maps.of(case.cut.layout, tuple(case.test.x.shape[1:]))
    except BadInput:
        return "does not apply: what crosses is no map over the image"
    return ""


def describe(plan: AuditPlan, bench: PairsBench, scope: str) -> dict[str, Any]:
    """The manifest: everything a reader needs to know what was audited."""
    case = bench.case
    own, private = (Path(name).name for name in plan.pairs)
    shape = list(case.test.x.shape[1:])
    return {
        "splitveil": bench.environment.splitveil,
        "scope": scope,
        "demo": False,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {
            "name": "pairs without a model",
            "classes": _classes(case),
            "channels": shape[0] if case.test.is_image else 1,
            "size": shape[1:] if case.test.is_image else shape,
            "notes": [
                "No network was loaded. Whatever release there is lies within z already.",
                "The depth of the cut is not known and stands as 1.",
            ],
        },
        "data": {
            "name": f"{private}, with {own} as the attacker's",
            "licence": "the user's own",
            "digest": " ".join(case.digests),
            "auxiliary": len(case.auxiliary),
            "validation": len(case.validation),
            "test": len(case.test),
            "class_names": [str(label) for label in range(_classes(case))],
            "conversions": list(case.conversions),
            "duplicates": case.duplicates,
        },
        "threat": {
            "knowledge": PAIRS,
            "auxiliary": f"{len(case.auxiliary):,} pairs (z, x) of the attacker's own",
            "knows_label": plan.threat.knows_label and case.labelled,
            "queries": 0,
            "server": "honest but curious",
            "goal": "rebuild the private input",
            "sends": 1,
        },
        "plan": plan_of(plan),
        "cuts": [_cost(case)],
        "environment": {**asdict(bench.environment), "cores": os.cpu_count()},
    }


def _classes(case: Case) -> int:
    labels = [e.y for e in (case.auxiliary, case.validation, case.test) if e.y is not None]
    return 1 + max((int(y.max()) for y in labels), default=-1)


def _cost(case: Case) -> dict[str, Any]:
    values = case.cut.layout.size
    sizes = {"bytes_fp32": 4 * values, "bytes_fp16": 2 * values, "bytes_uint8": values}
    return {"cut": asdict(case.cut), **sizes}
