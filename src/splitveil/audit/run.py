"""Runs a plan: prepares, hands trials to an executor, records what comes back, concludes."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

from splitveil.audit.course import INTERRUPTED, finish, record
from splitveil.audit.events import Begun, Ended, OnEvent, Utility, Warned, ignore
from splitveil.audit.executors import Executor, InProcess, Make, Processes, Work
from splitveil.audit.grid import EVERY_CUT, build_grid
from splitveil.audit.manifest import describe, joined
from splitveil.audit.pairs.run import preview_pairs, run_pairs
from splitveil.audit.plan import AuditPlan, default_folder
from splitveil.audit.prepare import Prepared, accuracy_trial, prepare
from splitveil.audit.preview import Preview
from splitveil.audit.schedule import Left, Schedule
from splitveil.audit.scoring import SHOWN, pixels
from splitveil.audit.settings import to_toml
from splitveil.audit.store import Run, Store, open_run
from splitveil.audit.subject import (
    SubjectFromPlan,
    share_images,
)
from splitveil.audit.verdict import summarise
from splitveil.audit.workbench import MakeWorkbench, Workbench, one_thread
from splitveil.data import Splits
from splitveil.errors import StorageFailed
from splitveil.models import LoadedModel, check_accuracy, class_order_hint
from splitveil.partition import Cut
from splitveil.records import Outcome, Status

_IMAGES = ".images.safetensors"


@dataclass(frozen=True)
class _Ready:
    """Gives a workbench that exists already."""

    bench: Workbench

    def __call__(self) -> Work:
        return self.bench.do


def preview(plan: AuditPlan, *, on_event: OnEvent = ignore) -> Preview:
    """What `run_audit` would do, without attacking anything.

    Raises:
        AuditError: as `run_audit`, for a model, data, pairs or plan that cannot be used.
    """
    if plan.pairs:
        return preview_pairs(plan, on_event=on_event)
    with one_thread():
        prepared = prepare(plan, on_event=on_event)
        grid = build_grid(plan, prepared.scope, prepared.cuts, prepared.sizes, prepared.output)
    return Preview(
        trials=(accuracy_trial(prepared), *(job.trial for job in grid.jobs)),
        left=grid.left,
        cuts=tuple(cut.name for cut in prepared.cuts),
        names=prepared.names,
        seconds=grid.seconds(plan.workers),
        bytes=grid.memory(plan.workers),
    )


def run_audit(
    plan: AuditPlan,
    out: str | Path | None = None,
    *,
    on_event: OnEvent = ignore,
    loaded: tuple[LoadedModel, Splits] | None = None,
    executor: Executor | None = None,
) -> Run:
    """Attack every cut of a model that the budget reaches and store what came of it.

    A run that was stopped in whatever way is taken up where it was: finished trials are kept, the
    others give the numbers they would have given. Attacks are chosen on validation images and
    scored on test images. An interruption (Ctrl-C) writes the summary of what there is, sends
    `Finished` and then goes on as KeyboardInterrupt.

    Args:
        plan: what to do; its seed fixes every number.
        out: the run's folder; None names one after the model and the data.
        on_event: is told how it goes.
        loaded: a model and data that are at hand already, in place of those the plan names.
        executor: where trials run; None takes `plan.jobs` worker processes, or this process where
            jobs is 0 or the model was given as an object.

    Raises:
        BadInput: one line with what is wrong with the model, the data or the plan.
        StorageFailed: if something cannot be written; what was written stays.
        WorkerLost: if worker processes cannot be kept alive.
    """
    folder = default_folder(plan) if out is None else Path(out)
    if plan.pairs:
        return run_pairs(plan, folder, on_event=on_event, executor=executor)
    with Store(folder) as store, one_thread():
        return _Audit(plan, store, on_event, loaded, executor).run()


@dataclass(eq=False)
class _Audit:
    plan: AuditPlan
    store: Store
    on_event: OnEvent
    loaded: tuple[LoadedModel, Splits] | None
    executor: Executor | None
    cuts: tuple[Cut, ...] = ()

    def run(self) -> Run:
        prepared = prepare(self.plan, on_event=self.on_event, loaded=self.loaded)
        self.cuts = prepared.cuts
        self.store.claim(prepared.scope)
        for message in self.store.mend():
            self.on_event(Warned(message))
        grid = build_grid(self.plan, prepared.scope, prepared.cuts, prepared.sizes, prepared.output)
        kept = {o.trial.id for o in self.store.outcomes() if o.status is Status.DONE}
        manifest = self._describe(prepared)
        self._score_uncut(prepared, kept)
        jobs = [job for job in grid.jobs if job.trial.id not in kept]
        schedule = Schedule(jobs, seconds=self.plan.limits.seconds, bytes=grid.together)
        self._announce(schedule, len(grid.jobs) - len(jobs), prepared)
        complete = False
        try:
            self._trials(prepared, schedule, len(jobs))
            complete = True
        except BaseException:
            schedule.abandon(INTERRUPTED)
            raise
        finally:
            left = [*grid.left, *schedule.left]
            self._conclude(manifest, left, complete=complete)
        return open_run(self.store.path)

    def _describe(self, prepared: Prepared) -> dict[str, Any]:
        """Write the manifest, the settings and the shown originals.

        A folder that holds a larger audit of the same subject keeps its cuts.
        """
        manifest = describe(prepared)
        if (self.store.path / "manifest.json").exists():
            manifest = joined(manifest, self.store.manifest)
        self.store.write_json("manifest.json", manifest)
        kept = replace(self.plan, cuts=tuple(manifest["plan"]["cuts"]))
        self.store.write_text("splitveil.toml", to_toml(kept))
        test = prepared.splits.test
        originals = {"images": pixels(test.x[:SHOWN])}
        if test.y is not None:
            originals["labels"] = test.y[:SHOWN].numpy()
        self.store.write_artefact("originals", originals)
        return manifest

    def _score_uncut(self, prepared: Prepared, kept: set[str]) -> None:
        """Score the model before anything else; one that does no better than chance stops here."""
        trial = accuracy_trial(prepared)
        if trial.id not in kept:
            test = prepared.subject.test
            if test.y is not None and self.plan.model.utility is None:
                names = prepared.splits.class_names
                network = prepared.subject.model.network
                check_accuracy(network, test.x, test.y, class_names=names)
                hint = class_order_hint(network, test.x, test.y, class_names=names)
                if hint is not None:
                    self.on_event(Warned(f"the class order looks wrong. {hint}"))
            record(self.store, prepared.bench.do(trial), prepared.environment)
        for outcome in self.store.outcomes():
            if outcome.trial.id == trial.id and outcome.quantities:
                name, quantity = next(iter(outcome.quantities.items()))
                self.on_event(Utility(name, quantity, quantity.n))

    def _announce(self, schedule: Schedule, kept: int, prepared: Prepared) -> None:
        workers = max(1, self.plan.workers)
        self.on_event(
            Begun(
                todo=len(schedule.jobs),
                kept=kept,
                cuts=len(prepared.cuts),
                jobs=self.plan.workers,
                seconds=schedule.remaining(workers),
            )
        )

    def _trials(self, prepared: Prepared, schedule: Schedule, count: int) -> None:
        names = prepared.names
        workers = max(1, self.plan.workers)
        executor, make = self._executor(prepared)
        ended = 0
        try:
            with closing(executor.run(make, schedule)) as running:
                for done in running:
                    outcome = record(self.store, done, prepared.environment)
                    schedule.finish(done.trial, outcome.seconds)
                    ended += 1
                    self.on_event(
                        Ended(
                            outcome,
                            names.get(done.trial.cut, "all cuts"),
                            ended,
                            count - len(schedule.left),
                            schedule.remaining(workers),
                        )
                    )
        finally:
            (self.store.path / _IMAGES).unlink(missing_ok=True)

    def _executor(self, prepared: Prepared) -> tuple[Executor, Make]:
        given = self.loaded is not None
        if given or (self.executor is None and self.plan.workers == 0):
            return self.executor or InProcess(), _Ready(prepared.bench)
        if isinstance(self.executor, InProcess):
            return self.executor, _Ready(prepared.bench)
        images = self.store.path / _IMAGES
        share_images(prepared.splits, images)
        source = SubjectFromPlan(
            self.plan,
            str(images.resolve()),
            prepared.splits.class_names,
            prepared.subject.model.digest,
        )
        return self.executor or Processes(self.plan.workers), MakeWorkbench(source)

    def _left_before(
        self, outcomes: Sequence[Outcome], now: Sequence[Mapping[str, Any]]
    ) -> list[Mapping[str, Any]]:
        """What earlier audits in this folder left out at cuts that this one does not look at."""
        try:
            before = self.store.summary.get("not_attacked", ())
        except StorageFailed:
            return []
        key = itemgetter("cut", "release", "method")
        known = {key(entry) for entry in now}
        known |= {
            (o.trial.cut, o.trial.release, o.trial.method)
            for o in outcomes
            if o.status is Status.DONE
        }
        mine = {cut.id for cut in self.cuts}
        mine.add(EVERY_CUT)  # what a budget leaves out is said anew each time
        return [e for e in before if key(e) not in known and e["cut"] not in mine]

    def _conclude(
        self, manifest: Mapping[str, Any], left: Sequence[Left], *, complete: bool
    ) -> None:
        outcomes = self.store.outcomes()
        done = {o.trial.id for o in outcomes if o.status is Status.DONE}
        missing = [one for one in left if one.trial.id not in done]
        summary = summarise(outcomes, missing, manifest, complete=complete)
        summary["not_attacked"] += self._left_before(outcomes, summary["not_attacked"])
        self.on_event(finish(self.store, summary))
