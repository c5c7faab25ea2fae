"""A search under way, kept in a file, so that a kill loses a second of it and not a chunk."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from splitveil.class_inversion import files
from splitveil.class_inversion.access import Access
from splitveil.class_inversion.searches.base import Memory, OnStep
from splitveil.class_inversion.starts.base import Begun
from splitveil.errors import BadPlan

EVERY = 1.0
"""Seconds between two states."""


class Stopwatch:
    """The time of a search without that of its hook, and with that of a run it goes on from."""

    def __init__(self, hook: OnStep) -> None:
        self._hook = hook
        self._began, self._worked = time.monotonic(), time.process_time()

    def __call__(self, step: int, images: Tensor, labels: Tensor) -> None:
        """The hook, its time left out."""
        began, worked = time.monotonic(), time.process_time()
        self._hook(step, images, labels)
        self._began += time.monotonic() - began
        self._worked += time.process_time() - worked

    def add(self, seconds: float, processor_seconds: float) -> None:
        """Count what an earlier run took."""
        self._began -= seconds
        self._worked -= processor_seconds

    @property
    def seconds(self) -> float:
        """On the wall."""
        return time.monotonic() - self._began

    @property
    def processor_seconds(self) -> float:
        """Of the processor."""
        return time.process_time() - self._worked


class KeptSearch(Memory):
    """Start and state in a file every second; an earlier run's time and queries are charged again.

    Without a `path` nothing is kept.

    Raises:
        BadPlan: if the file is damaged, or of a search with other settings.
        BudgetExceeded: if the queries of an earlier run leave nothing.
    """

    def __init__(self, path: Path | None, plan: str, target: Access, watch: Stopwatch) -> None:
        self._path, self._plan, self._target, self._watch = path, plan, target, watch
        self._before, self._last = target.used, time.monotonic()
        self._begun: Begun | None = None
        self._state: dict[str, Tensor] = {}
        stored = None if path is None else files.read(path)
        if stored is None:
            return
        tensors, described = stored
        if described.get("plan") != plan:
            raise BadPlan(
                f"{path} is of an attack with other settings, model, prior or classes: choose "
                "another folder, or repeat the settings to go on"
            )
        target.charge(int(described["queries"]))
        watch.add(float(described["seconds"]), float(described["processor_seconds"]))
        place = target.device
        tensors = {name: value.to(place) for name, value in tensors.items()}
        self._begun = Begun(**files.part(tensors, "begun"))
        self._state = files.part(tensors, "search")

    @property
    def queries(self) -> int:
        """Of the search so far, an earlier run's among them."""
        return self._target.used - self._before

    def begun(self, draw: Callable[[], Begun]) -> Begun:
        """Where the search began; drawn unless it goes on."""
        if self._begun is None:
            self._begun = draw()
        return self._begun

    def recall(self) -> dict[str, Tensor]:
        return self._state

    def due(self) -> bool:
        return self._path is not None and time.monotonic() - self._last >= EVERY

    def keep(self, state: Mapping[str, Tensor]) -> None:
        assert self._path is not None and self._begun is not None  # noqa: PT018, S101 - it is due
        files.write(
            self._path,
            files.named("begun", vars(self._begun)) | files.named("search", state),
            {
                "plan": self._plan,
                "queries": self.queries,
                "seconds": self._watch.seconds,
                "processor_seconds": self._watch.processor_seconds,
            },
        )
        self._last = time.monotonic()

    def forget(self) -> None:
        """Remove the file: the search has ended, and its answer is kept."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
