"""What a person sees while an audit runs: stages, the accuracy, a bar with the time left."""

import time
from dataclasses import replace
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from splitveil.audit.events import Begun, Ended, Event, Finished, Stage, Utility, Warned
from splitveil.records import Status

_EVERY = 10.0


def clock(seconds: float) -> str:
    """Seconds as 0:07, 12:05 or 3:04:05."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Screen:
    """Listens to an audit and shows it on stderr; a context manager.

    A terminal gets a bar that moves; a file or a pipe gets a line every ten seconds.
    """

    def __init__(self, *, own_data: bool) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        self._labels = "your labels" if own_data else "the labels of DEMO DATA"
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("Starting", total=None, left="")
        self._said = time.monotonic()
        self.finished: Finished | None = None

    def __enter__(self) -> "Screen":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Stage(text):
                self._bar.update(self._task, description=text)
                if not self._console.is_terminal:
                    self._console.print(f"{text} ...")
            case Utility("agreement", _, images):
                self._console.print(
                    f"No labels with {images:,} test images: the accuracy of the model is not "
                    "checked; agreement with the uncut model stands in for it"
                )
            case Utility(name, quantity, images):
                score = "Accuracy" if name == "accuracy" else quantity.unit.capitalize()
                figure = replace(quantity, unit="")
                self._console.print(f"{score} on {self._labels}: {figure} ({images:,} images)")
            case Begun():
                self._begin(event)
            case Ended():
                self._end(event)
            case Warned(message):
                self._console.print(f"Note: {message}", style="yellow")
            case Finished():
                self.finished = event

    def _begin(self, event: Begun) -> None:
        kept = f", {event.kept} already in the folder" if event.kept else ""
        places = "1 cut" if event.cuts == 1 else f"{event.cuts} cuts"
        self._console.print(
            f"{event.todo} trials at {places}{kept}; about {clock(event.seconds)} with "
            f"{max(1, event.jobs)} worker{'s' if event.jobs > 1 else ''}"
        )
        self._bar.update(self._task, description="Attacking", total=event.todo, left="")

    def _end(self, event: Ended) -> None:
        trial = event.outcome.trial
        left = f"{clock(event.left)} left"
        if event.outcome.status is Status.FAILED:
            self._console.print(
                f"Failed: {trial.method} at {event.cut}: {event.outcome.reason}", style="yellow"
            )
        self._bar.update(
            self._task,
            completed=event.done,
            total=event.of,
            left=left,
            description=f"{trial.method.partition('(')[0]} at {event.cut}",
        )
        now = time.monotonic()
        if not self._console.is_terminal and now - self._said > _EVERY:
            self._said = now
            self._console.print(f"{event.done} of {event.of} trials, about {left}")
