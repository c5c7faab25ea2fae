"""Limited-memory BFGS for many separate bound-constrained problems at once."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from splitveil.attacks.optimise.minimise import Box, Ending, Function, Minimum, Optimiser
from splitveil.errors import BadPlan

_SUFFICIENT = 1e-4
_BACKTRACKS = 16
_CURVATURE = 1e-10
_FIRST_MOVE = 0.1
_QUIET = 3


@dataclass(frozen=True, kw_only=True)
class BatchedLBFGS(Optimiser):
    """Projected L-BFGS, each row with its own history, line search and stopping.

    The direction is -H g on the values free to move, by the two-loop recursion over the last
    `history` pairs (s, y); pairs with sᵀy < 1e-10 ‖s‖² are skipped. The step along the projection
    onto the box is halved or interpolated until Armijo's condition holds with c = 1e-4. A row ends
    when its projected gradient has fallen below `gradient` of the first one, when three steps in
    turn gain less than `gain` of the value, when steepest descent fails too, or after `steps`.

    torch.optim.LBFGS shares one step length and one stopping rule among all rows, so that images
    would change each other's answers.
    """

    steps: int = 150
    history: int = 10
    gradient: float = 1e-5
    gain: float = 1e-6

    def __post_init__(self) -> None:
        if self.steps < 1 or self.history < 1:
            raise BadPlan(f"steps and history must be at least 1, got {self}")
        if not (self.gradient >= 0 and self.gain >= 0):
            raise BadPlan(f"tolerances must not be negative, got {self}")

    def minimise(
        self, function: Function, start: Tensor, box: Box, *, marks: Sequence[int] = ()
    ) -> Minimum:
        run = _Run(self, function, box, start)
        snapshots: dict[int, Tensor] = {}
        for step in range(self.steps):
            if step in marks:
                snapshots[step] = run.points()
            if not len(run.state.rows):
                break
            run.step()
        run.finish()
        for mark in marks:
            snapshots.setdefault(mark, run.x.clone())
        return Minimum(run.x, run.value, run.taken, run.ending, snapshots)


@dataclass(eq=False)
class _State:
    """The rows still moving: everything has them on its leading axis."""

    rows: Tensor
    x: Tensor
    value: Tensor
    gradient: Tensor
    s: Tensor
    y: Tensor
    inverse: Tensor
    scale: Tensor
    first: Tensor
    quiet: Tensor
    fresh: Tensor

    def keep(self, mask: Tensor) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[mask])


class _Run:
    def __init__(self, plan: BatchedLBFGS, function: Function, box: Box, start: Tensor) -> None:
        self.plan, self.function, self.box = plan, function, box
        b, d = start.shape
        self.x = box.project(start.detach()).clone()
        rows = torch.arange(b, device=start.device)
        self.taken = torch.zeros_like(rows)
        self.ending = torch.full_like(rows, Ending.STEPS)
        value, gradient = function(self.x, rows)
        self.value = value.double()
        past = self.x.new_zeros(b, plan.history, d)
        self.state = _State(
            rows,
            self.x.clone(),
            self.value.clone(),
            gradient,
            past,
            past.clone(),
            self.x.new_zeros(b, plan.history),
            self._first_scale(self.x, gradient),
            self._stationarity(self.x, gradient),
            torch.zeros_like(rows),
            torch.ones_like(rows, dtype=torch.bool),
        )
        finite = self.value.isfinite() & gradient.isfinite().all(1)
        self._leave(~finite, Ending.DIVERGED)
        self._leave(self.state.first == 0, Ending.CONVERGED)
        self._newest = 0

    def points(self) -> Tensor:
        """Where all rows stand."""
        x = self.x.clone()
        x[self.state.rows] = self.state.x
        return x

    def finish(self) -> None:
        self.x[self.state.rows] = self.state.x
        self.value[self.state.rows] = self.state.value

    def step(self) -> None:
        state = self.state
        direction = self._direction()
        slope = (state.gradient * direction).sum(1)
        uphill = ~(slope < 0)
        if uphill.any():  # rounding, or nothing learnt: begin again from steepest descent
            self._forget(uphill)
            direction = torch.where(uphill[:, None], self._direction(), direction)
        x, value, gradient, moved = self._search(direction)
        self.taken[state.rows] += 1
        self._learn(x - state.x, gradient - state.gradient, moved)
        stuck = ~moved & state.fresh
        self._forget(~moved)
        small = state.value - value <= self.plan.gain * value.abs()
        state.quiet = torch.where(moved & small, state.quiet + 1, 0)
        state.x, state.value, state.gradient = x, value, gradient
        state.fresh = ~moved
        flat = self._stationarity(x, gradient) <= self.plan.gradient * state.first
        done = moved & (flat | (state.quiet >= _QUIET))
        ending = torch.where(done, int(Ending.CONVERGED), int(Ending.STALLED))
        self._leave(done | stuck, ending)

    def _leave(self, mask: Tensor, ending: Tensor | int) -> None:
        if not mask.any():
            return
        state = self.state
        gone = state.rows[mask]
        self.x[gone], self.value[gone] = state.x[mask], state.value[mask]
        self.ending[gone] = ending[mask] if isinstance(ending, Tensor) else int(ending)
        state.keep(~mask)

    def _stationarity(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Largest absolute gradient of a free value."""
        if not x.shape[1]:
            return x.new_zeros(len(x))
        return (gradient * self.box.free(x, gradient)).abs().amax(1)

    def _direction(self) -> Tensor:
        state = self.state
        free = self.box.free(state.x, state.gradient)
        q = torch.where(free, state.gradient, 0)
        h = self.plan.history
        order = [(self._newest - 1 - i) % h for i in range(h)]
        alphas = {}
        for i in order:
            alphas[i] = state.inverse[:, i] * torch.einsum("bd,bd->b", state.s[:, i], q)
            q = q - alphas[i][:, None] * state.y[:, i]
        q = state.scale[:, None] * q
        for i in reversed(order):
            beta = state.inverse[:, i] * torch.einsum("bd,bd->b", state.y[:, i], q)
            q = q + (alphas[i] - beta)[:, None] * state.s[:, i]
        return torch.where(free, -q, 0)

    def _search(self, direction: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Backtrack each row on its own until its value falls enough."""
        state = self.state
        x, value, gradient = state.x.clone(), state.value.clone(), state.gradient.clone()
        slack = 4 * torch.finfo(x.dtype).eps * state.value.abs()
        length = torch.ones_like(state.value, dtype=x.dtype)
        moved = torch.zeros_like(state.fresh)
        pending = torch.arange(len(x), device=x.device)
        for _ in range(_BACKTRACKS):
            old = state.x[pending]
            tried = self.box.project(old + length[pending, None] * direction[pending])
            found, slope = self.function(tried, state.rows[pending])
            found = found.double()
            expected = (state.gradient[pending] * (tried - old)).sum(1).double()
            enough = found <= state.value[pending] + _SUFFICIENT * expected + slack[pending]
            enough &= found.isfinite() & slope.isfinite().all(1)
            taken = pending[enough]
            x[taken], value[taken], gradient[taken] = tried[enough], found[enough], slope[enough]
            moved[taken] = True
            drop = (found - state.value[pending] - expected).clamp(min=1e-300)
            shrink = (-expected / (2 * drop)).nan_to_num(0.1, 0.1, 0.1).clamp(0.1, 0.5)
            length[pending] = length[pending] * shrink.to(x.dtype)
            pending = pending[~enough]
            if not len(pending):
                break
        return x, value, gradient, moved

    def _learn(self, s: Tensor, y: Tensor, moved: Tensor) -> None:
        state, slot = self.state, self._newest
        curvature, size = (s * y).sum(1), s.square().sum(1)
        useful = moved & (curvature > _CURVATURE * size) & (size > 0)
        state.s[:, slot], state.y[:, slot] = s, y
        state.inverse[:, slot] = torch.where(useful, 1 / curvature, 0)
        scale = curvature / y.square().sum(1).clamp(min=1e-38)
        state.scale = torch.where(useful, scale, state.scale)
        self._newest = (slot + 1) % self.plan.history

    def _forget(self, mask: Tensor) -> None:
        state = self.state
        state.inverse[mask] = 0
        first = self._first_scale(state.x, state.gradient)
        state.scale = torch.where(mask, first, state.scale)

    def _first_scale(self, x: Tensor, gradient: Tensor) -> Tensor:
        """The length at which the largest value moves by a tenth."""
        if not x.shape[1]:
            return x.new_zeros(len(x))
        return _FIRST_MOVE / self._stationarity(x, gradient).clamp(min=1e-30)
