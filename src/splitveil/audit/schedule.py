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

DEAR, LAST, AFTER = 2, 1_000_000, 2_000_000
"""The rank from which jobs go longest first, below it they go in the order given; the last attacks;
and what is computed once every attack has had its turn."""

NO_TIME = "no time"

FEW = "few cuts"
"""How the reason begins for an attack that a budget means for some cuts only."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A trial with what it is expected to take.

    `rank` comes before cost: lower goes first.
    """

    trial: Trial
    seconds: float
    bytes: int = 0
    rank: int = 0

    @property
    def method(self) -> str:
        """The method with its settings, which decide what it costs."""
        return self.trial.method


@dataclass(frozen=True, kw_only=True)
class Left:
    """A trial that was not run, and why."""

    trial: Trial
    reason: str


@dataclass(eq=False)
class Schedule:
    """A queue of jobs with a deadline, in seconds after the schedule was made.

    Jobs that cannot end in time go to `left` when their turn comes. Jobs that run together share
    `bytes` of memory: one that does not fit waits, and smaller ones behind it go first.
    """

    jobs: Sequence[Job]
    seconds: float = math.inf
    bytes: float = math.inf
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
        while (position := self._position(last)) is not None:
            job = self._pending.pop(position)
            expected = self.expected(job)
            if now + expected <= self.seconds:
                self._running[job.trial.id] = (job, self.clock())
                return job.trial
            self.left.append(Left(trial=job.trial, reason=self._too_long(expected, now)))
        return None

    def _too_long(self, expected: float, now: float) -> str:
        remaining = max(0.0, self.seconds - now)
        return (
            f"{NO_TIME}: about {expected:.0f} s needed, {remaining:.0f} s of the budget were left; "
            "run again with the same folder to add it, or allow a larger budget"
        )

    def _position(self, last: Trial | None) -> int | None:
        """The first pending job that fits memory; a cheap one, if it may be, of the known cut."""
        used = sum(job.bytes for job, _ in self._running.values())
        fit = [
            place
            for place, job in enumerate(self._pending)
            if not self._running or used + job.bytes <= self.bytes
        ]
        if not fit:
            return None
        first = self._pending[fit[0]]
        if last is None or first.rank >= DEAR:
            return fit[0]
        return next(
            (
                place
                for place in fit
                if self._pending[place].rank == first.rank
                and self._pending[place].trial.cut == last.cut
            ),
            fit[0],
        )

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
    """By rank; cheap ranks in the order given, dear ones longest first."""
    return sorted(jobs, key=lambda job: (job.rank, -job.seconds if job.rank >= DEAR else 0.0))


def makespan(jobs: Sequence[Job], workers: int) -> float:
    """Seconds until all jobs are done on `workers` workers, each taking the next in order."""
    busy = [0.0] * max(1, workers)
    for job in order(jobs):
        busy[busy.index(min(busy))] += job.seconds
    return max(busy)
