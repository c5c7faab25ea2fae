"""Trials one after another in this process."""

from collections.abc import Generator
from dataclasses import dataclass

from splitveil.audit.executors.base import Done, Make, Queue
from splitveil.records import Trial


@dataclass(frozen=True)
class InProcess:
    """Nothing is started and nothing is pickled: for small audits, debugging and live objects."""

    def run(self, make: Make, queue: Queue) -> Generator[Done, None, None]:
        last: Trial | None = queue.next(None)
        if last is None:
            return
        work = make()
        while last is not None:
            yield work(last)
            last = queue.next(last)
