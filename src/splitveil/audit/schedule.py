"""Which trial runs next, what still fits before the deadline, and how long it all takes; no torch.

Cheap trials go first, so that whatever interrupts an audit leaves every cut measured; dear ones go
longest first, so that the last to end are short. Estimates start from operation counts and follow
what the machine shows: each method's ratio of seconds to estimate scales the trials still to come.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from splitveil.records import Trial

_CHEAP = 4.0
"""Trials expected to take less than so many seconds count as cheap."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A trial with what it is expected to take.

    `rank` orders trials before their cost does: lower goes first.
    """

    trial: Trial
    seconds: float
    bytes: int = 0
    rank: int = 0

    @property
    def method(self) -> str:
        """The method's name without its settings."""
        return self.trial.method.partition("(")[0]


@dataclass(frozen=True, kw_only=True)
class Left:
    """A trial that was not run, and why."""

    trial: Trial
    reason: str


@dataclass(eq=False)
class Schedule:
    """A queue of jobs with a deadline, in seconds after the schedule was made.

    Jobs that cannot end in time go to `left` when their turn comes. `overhead` is what remains to
    be done after the last trial.
    """

    jobs: Sequence[Job]
    seconds: float = math.inf
    clock: Callable[[], float] = time.monotonic
    left: list[Left] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._pending = order(self.jobs)
        self._running: dict[str, tuple[Job, float]] = {}
        self._ratios: dict[str, list[float]] = {}

    def next(self, last: Trial | None) -> Trial | None:
        """The next trial that fits; among equals one of the cut the worker knows already."""
        now = self.clock() - self._began
        while self._pending:
            job = self._pending.pop(self._position(last))
            expected = self.expected(job)
            if now + expected <= self.seconds:
                self._running[job.trial.id] = (job, self.clock())
                return job.trial
            self.left.append(Left(trial=job.trial, reason=self._too_long(expected, now)))
        return None

    def _too_long(self, expected: float, now: float) -> str:
        remaining = max(0.0, self.seconds - now)
        return (
            f"no time: about {expected:.0f} s needed, {remaining:.0f} s of the budget were left; "
            "run again with the same folder to add it, or allow a larger budget"
        )

    def _position(self, last: Trial | None) -> int:
        """The first pending job, or the first of its rank at the cut the worker knows."""
        if last is None or self._pending[0].seconds >= _CHEAP:
            return 0
        rank = self._pending[0].rank
        for position, job in enumerate(self._pending):
            if job.rank != rank or job.seconds >= _CHEAP:
                break
            if job.trial.cut == last.cut:
                return position
        return 0

    def finish(self, trial: Trial, seconds: float) -> None:
        """Learn from a trial that ended after `seconds`."""
        job, _ = self._running.pop(trial.id)
        if job.seconds > 0 and seconds > 0:
            self._ratios.setdefault(job.method, []).append(seconds / job.seconds)

    def expected(self, job: Job) -> float:
        """The estimate, scaled by what this method has shown on this machine so far."""
        seen = self._ratios.get(job.method)
        if not seen:
            return job.seconds
        recent = sorted(seen[-5:])
        return job.seconds * recent[len(recent) // 2]

    def remaining(self, workers: int) -> float:
        """Seconds until the last trial ends, if estimates hold; never beyond the deadline."""
        now = self.clock()
        spare = self.seconds - (now - self._began)
        running = [
            max(0.0, self.expected(job) - (now - began)) for job, began in self._running.values()
        ]
        work = sum(running) + sum(self.expected(job) for job in self._pending)
        longest = max(running, default=0.0)
        return max(0.0, min(max(work / max(1, workers), longest), spare))

    def abandon(self, reason: str) -> None:
        """Put all that has not ended aside."""
        pending = [job.trial for job, _ in self._running.values()]
        pending += [job.trial for job in self._pending]
        self.left.extend(Left(trial=trial, reason=reason) for trial in pending)
        self._running.clear()
        self._pending.clear()


def order(jobs: Sequence[Job]) -> list[Job]:
    """By rank; within a rank cheap jobs in the order given, then dear ones longest first."""
    keyed = [
        (job.rank, job.seconds >= _CHEAP, -job.seconds if job.seconds >= _CHEAP else 0.0, place)
        for place, job in enumerate(jobs)
    ]
    return [jobs[key[-1]] for key in sorted(keyed)]


def makespan(jobs: Sequence[Job], workers: int) -> float:
    """Seconds until all jobs are done on `workers` workers, each taking the next in order."""
    busy = [0.0] * max(1, workers)
    for job in order(jobs):
        busy[busy.index(min(busy))] += job.seconds
    return max(busy)
