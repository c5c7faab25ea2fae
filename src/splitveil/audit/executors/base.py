"""What an executor is given and what it gives back."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from splitveil.records import Outcome, Trial


@dataclass(frozen=True, eq=False)
class Done:
    """What came of one trial: its outcome and the arrays to store beside it.

    `outcome` is None where the worker died of it; `reason` then says how.
    """

    trial: Trial
    outcome: Outcome | None
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    reason: str = ""


Work: TypeAlias = Callable[[Trial], Done]
"""Does one trial; never raises for a trial that cannot be done, see `Done`."""

Make: TypeAlias = Callable[[], Work]
"""Loads what all trials share and gives the function that does them; must pickle."""


@runtime_checkable
class Queue(Protocol):
    """Decides what runs next."""

    def next(self, last: Trial | None) -> Trial | None:
        """The trial for a free worker that did `last` before, or None if none may start now.

        Asked again whenever a trial has ended; it was handed out before the next is asked for.
        """


@runtime_checkable
class Executor(Protocol):
    """Runs trials until the queue is empty."""

    def run(self, make: Make, queue: Queue) -> Generator[Done, None, None]:
        """Yield what came of each trial as it ends; closing the iterator stops all work.

        Raises:
            AuditError: if the shared part cannot be loaded; the loader's own error.
            WorkerLost: if workers cannot be started at all.
        """
