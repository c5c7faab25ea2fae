"""How soon a search succeeds: what judges say of its images along the way, and the time it took."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from splitveil.class_inversion.evaluation.judges import Judge
from splitveil.errors import BadPlan


@dataclass(frozen=True)
class Point:
    """After `step` steps: seconds a class of processor time, and the share all judges take."""

    step: int
    seconds: float
    accuracy: float


class Curve:
    """An `on_step` hook that asks the judges every `every` steps, and leaves its own time out.

    Of a search that goes on from an earlier run's it saw no beginning, and notes nothing.
    Attacks are compared by the time a class at which they reach the same accuracy, not by the time
    of so many steps. Searches of distributions are seen by one draw.

    Raises:
        BadPlan: if there are no judges, or `every` is not positive.
    """

    def __init__(self, judges: Sequence[Judge], *, every: int = 50) -> None:
        if not judges or every < 1:
            raise BadPlan(f"a curve needs judges and steps between points, got every={every}")
        self._judges, self._every = tuple(judges), every
        self._began = self._aside = 0.0
        self._chunks: list[dict[int, tuple[float, float]]] = []
        self._classes: list[int] = []

    @property
    def classes(self) -> int:
        """How many classes were seen."""
        return sum(self._classes)

    def __call__(self, step: int, images: Tensor, labels: Tensor) -> None:
        """Note one step; step 0 begins a chunk."""
        now = time.process_time()
        if step == 0:
            self._began, self._aside = now, 0.0
            self._chunks.append({})
            self._classes.append(len(labels.unique()))
        if not self._chunks:
            return
        if step % self._every == 0:
            wanted = labels.cpu()
            hits = [judge(images.detach())[0].argmax(1) == wanted for judge in self._judges]
            share = float(torch.stack(hits).all(0).double().mean())
            self._chunks[-1][step] = (now - self._began - self._aside, share)
            self._aside += time.process_time() - now

    def points(self) -> tuple[Point, ...]:
        """All chunks together; one that ended early counts on as it ended."""
        steps = sorted({step for chunk in self._chunks for step in chunk})
        found = []
        for step in steps:
            seconds = accuracy = 0.0
            for chunk, classes in zip(self._chunks, self._classes, strict=True):
                spent, share = chunk[max(s for s in chunk if s <= step)]
                seconds += spent
                accuracy += share * classes
            found.append(Point(step, seconds / self.classes, accuracy / self.classes))
        return tuple(found)


def seconds_to(points: Sequence[Point], accuracy: float) -> float | None:
    """Seconds a class until the judges take `accuracy` of the images; None if never."""
    return next((point.seconds for point in points if point.accuracy >= accuracy), None)
