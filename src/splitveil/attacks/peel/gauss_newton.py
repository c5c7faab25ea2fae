"""Semi-smooth Levenberg-Marquardt for a batch of images that do not know of each other.

For piecewise linear rows r(x), with J an element of the generalised Jacobian, each image takes

    d = argmin |J d + r|^2 + damping tr(J^T J)/n |d|^2,     x <- P(x + t d),   t in {1, 1/4},

if |r| falls, and its own damping falls after success and grows after failure. P projects on the
limits; entries held at a limit by the gradient take no part in d. Rows are evaluated in float64
and the step in float32, so that the answer is as exact as float64 at float32's price. Finished
images leave the batch and keep their bits. Source: Levenberg 1944; Marquardt 1963; Qi and Sun 1993
(semi-smooth Newton); Bertsekas 1982 (projection).
"""

from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from splitveil.attacks.peel.conjugate_gradients import Operator, least_squares, squares
from splitveil.attacks.peel.problem import Problem, laid_out
from splitveil.rng import Rng
from splitveil.shapes import PerImage

_DAMPING, _LEAST, _MOST = 1e-3, 1e-12, 1e6


class Outcome(IntEnum):
    """How the search for one image ended."""

    RUNNING = 0
    CONVERGED = 1
    SETTLED = 2
    DIVERGED = 3


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Limits of one search: outer steps, conjugate-gradient iterations each, relative tolerance.

    An image has settled when a step promises to lower |r|^2 by a share below `progress`, or when
    `patience` steps in a row did no better.
    """

    outer: int = 20
    inner: int = 40
    tolerance: float = 3e-7
    progress: float = 1e-2
    patience: int = 3


@dataclass(frozen=True, eq=False)
class Solution:
    """Inputs found (float64), their |r| / |y|, `Outcome`s, and outer steps and products taken."""

    x: Tensor
    misfit: Tensor
    outcome: Tensor
    steps: Tensor
    products: Tensor

    def better_of(self, other: "Solution", index: Tensor) -> "Solution":
        """This one with the images at `index` replaced where `other` fits better."""
        wins = other.misfit < self.misfit[index]
        chosen = index[wins]
        x, misfit, outcome = self.x.clone(), self.misfit.clone(), self.outcome.clone()
        x[chosen], misfit[chosen] = other.x[wins], other.misfit[wins]
        outcome[chosen] = other.outcome[wins]
        steps, products = self.steps.clone(), self.products.clone()
        steps[index] += other.steps
        products[index] += other.products
        return Solution(x, misfit, outcome, steps, products)


@dataclass(eq=False)
class _State:
    """The whole batch while it is worked on."""

    x: Tensor
    rows: tuple[Tensor, ...]
    cost: Tensor
    damping: Tensor
    slow: Tensor
    drop: Tensor
    outcome: Tensor
    steps: Tensor
    products: Tensor


@torch.no_grad()
def solve(problem: Problem, start: Tensor, effort: Effort) -> Solution:
    """Lower |r| from `start` (n, ...), image by image.

    Raises:
        BadInput: if an operation on the way passes no gradient.
    """
    state = _begin(problem, start)
    goal = (effort.tolerance * problem.scale) ** 2
    for _ in range(effort.outer):
        state.outcome[(state.outcome == 0) & (state.cost <= goal)] = Outcome.CONVERGED
        active = (state.outcome == 0).nonzero().flatten()
        if not len(active):
            break
        _advance(problem.take(active), state, active, effort)
    state.outcome[(state.outcome == 0) & (state.cost <= goal)] = Outcome.CONVERGED
    misfit = (state.cost.sqrt() / problem.scale).nan_to_num(nan=torch.inf)
    return Solution(state.x, misfit, state.outcome, state.steps, state.products)


def _begin(problem: Problem, start: Tensor) -> _State:
    x = problem.clamp(laid_out(start.detach().double()))
    rows = problem.residual(x)
    cost = squares(rows)
    whole = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    outcome = torch.where(torch.isfinite(cost), whole, int(Outcome.DIVERGED))
    ones = torch.ones_like(cost)
    return _State(
        x, rows, cost, _DAMPING * ones, whole, ones, outcome, whole.clone(), whole.clone()
    )


def _advance(problem: Problem, state: _State, active: Tensor, effort: Effort) -> None:
    """One outer step of the active images; `problem` is theirs."""
    x, cost = state.x[active], state.cost[active]
    rows = [row[active].float() for row in state.rows]
    linear = problem.linearise(x.float())
    free = _free(problem, x, linear.pull(rows)) if problem.low > -1e300 else None
    mean = _mean_curvature(linear, x)
    forcing = state.drop[active].clamp(1e-3, 0.1).float()
    step = least_squares(
        linear,
        rows,
        (state.damping[active] * mean).float(),
        iterations=effort.inner,
        tolerance=forcing,
        free=free,
    )
    state.steps[active] += 1
    state.products[active] += 2 * step.iterations
    spent = step.promised < effort.progress * cost.float()
    done = torch.zeros(len(active), dtype=torch.bool, device=x.device)
    for length in (1.0, 0.25):
        left = (~done).nonzero().flatten()
        if not len(left):
            break
        part = problem if len(left) == len(active) else problem.take(left)
        trial = part.clamp(x[left] + length * step.d[left].double())
        found = part.residual(trial)
        after = squares(found)
        better = after < cost[left]
        won = left[better]
        _accept(state, active[won], trial[better], [row[better] for row in found], after[better])
        done[won] = True
        state.damping[active[won]] *= 0.2 if length == 1.0 else 2.0
    state.damping[active[~done]] *= 10.0
    state.damping.clamp_(_LEAST, _MOST)
    after = state.cost[active]
    ratio = after / cost.clamp(min=1e-300)
    state.drop[active] = torch.where(done, ratio.sqrt(), state.drop[active])
    slow = state.slow[active] + 1
    state.slow[active] = torch.where(ratio < 1 - effort.progress, 0, slow)
    tired = (state.slow[active] >= effort.patience) | (state.damping[active] >= _MOST) | spent
    state.outcome[active[tired]] = Outcome.SETTLED


def _accept(state: _State, index: Tensor, x: Tensor, rows: list[Tensor], cost: Tensor) -> None:
    state.x[index] = x
    state.cost[index] = cost
    for whole, part in zip(state.rows, rows, strict=True):
        whole[index] = part


def _free(problem: Problem, x: Tensor, gradient: Tensor) -> Tensor:
    """1 where a step may move the entry, 0 where the gradient holds it at a limit."""
    held = ((x <= problem.low) & (gradient > 0)) | ((x >= problem.high) & (gradient < 0))
    return (~held).to(gradient.dtype)


def _mean_curvature(linear: Operator, x: Tensor) -> PerImage:
    """tr(J^T J) / n from one random direction, the same in every batch."""
    probe = torch.randn(x.shape[1:], generator=Rng(0, ("probe",)).torch()).to(x.device)
    moved = linear.push(laid_out(probe.expand(x.shape)))
    return (squares(moved) / probe.square().sum()).double()
