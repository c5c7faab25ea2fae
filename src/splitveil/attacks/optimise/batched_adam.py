"""Adam for many separate bound-constrained problems at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from splitveil.attacks.optimise.minimise import Box, Ending, Function, Minimum, Optimiser
from splitveil.errors import BadPlan

_FIRST, _SECOND, _FLOOR = 0.9, 0.999, 1e-10


@dataclass(frozen=True, kw_only=True)
class BatchedAdam(Optimiser):
    """Projected Adam (Kingma & Ba 2015) with a cosine schedule, each row stopping by itself.

    Step t has length `rate` (1 + cos(π t / steps)) / 2 per value; the best point met is the answer.
    A row ends when its best value has fallen by less than `gain` of itself over `patience` of the
    steps, or when its value or gradient is no longer finite. Adam has no line search: it walks over
    kinks where L-BFGS stalls, and takes several times its steps.
    """

    steps: int = 400
    rate: float = 0.05
    patience: float = 0.25
    gain: float = 1e-4

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise BadPlan(f"steps must be at least 1, got {self.steps}")
        if not (0 < self.rate < math.inf and 0 < self.patience <= 1 and self.gain >= 0):
            raise BadPlan(
                f"rate must be positive, patience in (0, 1] and gain at least 0, got {self}"
            )

    def minimise(
        self, function: Function, start: Tensor, box: Box, *, marks: Sequence[int] = ()
    ) -> Minimum:
        rows = torch.arange(len(start), device=start.device)
        x = box.project(start.detach()).clone()
        zero = torch.zeros_like(x)
        best = torch.full((len(x),), math.inf, dtype=torch.float64, device=x.device)
        state = _State(
            rows, x, x.clone(), best, best.clone(), torch.zeros_like(rows), zero, zero.clone()
        )
        answer = Minimum(
            x.clone(),
            best.clone(),
            torch.zeros_like(rows),
            torch.full_like(rows, Ending.STEPS),
            {},
        )
        wait = max(1, round(self.patience * self.steps))
        for step in range(self.steps + 1):
            if step in marks:
                state.write(answer)
                answer.marks[step] = answer.x.clone()
            if not len(state.rows):
                break
            value, gradient = function(state.x, state.rows)
            broken = ~(value.isfinite() & gradient.isfinite().all(1))
            self._note(state, value.double(), broken)
            idle = state.since >= wait
            if step == self.steps:
                state.write(answer)
                answer.ending[state.rows[broken]] = int(Ending.DIVERGED)
                break
            gone = broken | idle
            if gone.any():
                state.write(answer)
                ended = torch.where(broken, int(Ending.DIVERGED), int(Ending.CONVERGED))
                answer.ending[state.rows[gone]] = ended[gone]
                state.keep(~gone)
                gradient = gradient[~gone]
            answer.steps[state.rows] += 1
            self._move(state, gradient, box, step)
        for mark in marks:
            answer.marks.setdefault(mark, answer.x.clone())
        return answer

    def _note(self, state: "_State", value: Tensor, broken: Tensor) -> None:
        better = ~broken & (value < state.best_value)
        state.best = torch.where(better[:, None], state.x, state.best)
        state.best_value = torch.where(better, value, state.best_value)
        gained = state.best_value < state.reference - self.gain * state.reference.abs()
        gained |= state.reference.isinf()
        state.reference = torch.where(gained, state.best_value, state.reference)
        state.since = torch.where(gained, 0, state.since + 1)

    def _move(self, state: "_State", gradient: Tensor, box: Box, step: int) -> None:
        state.first = torch.lerp(gradient, state.first, _FIRST)
        state.second = torch.lerp(gradient.square(), state.second, _SECOND)
        mean = state.first / (1 - _FIRST ** (step + 1))
        root = (state.second / (1 - _SECOND ** (step + 1))).sqrt()
        # the floor is relative to the row, so that the scale of the value does not matter
        floor = _FLOOR + 1e-6 * root.amax(1, keepdim=True) if root.shape[1] else _FLOOR
        rate = self.rate * (1 + math.cos(math.pi * step / self.steps)) / 2
        state.x = box.project(state.x - rate * mean / (root + floor))


@dataclass(eq=False)
class _State:
    """The rows still moving: everything has them on its leading axis."""

    rows: Tensor
    x: Tensor
    best: Tensor
    best_value: Tensor
    reference: Tensor
    since: Tensor
    first: Tensor
    second: Tensor

    def keep(self, mask: Tensor) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[mask])

    def write(self, answer: Minimum) -> None:
        """Put the best so far of every moving row into the answer."""
        answer.x[self.rows] = self.best
        answer.value[self.rows] = self.best_value
