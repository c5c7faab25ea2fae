"""Peeling one stage: from what it gave back to what it was given."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from splitveil.attacks.peel.blocks import Skip
from splitveil.attacks.peel.fixed_point import mix
from splitveil.attacks.peel.gauss_newton import Effort, Outcome, Solution, solve
from splitveil.attacks.peel.problem import Problem
from splitveil.rng import Rng

_ROUNDS, _CLOSE = 40, 2e-7
_GAINS = (0.25, 0.5, 0.75)
_ENOUGH = 1e-4
_SHARE = 0.1
_FEW = 3


@dataclass(frozen=True, kw_only=True)
class Retries:
    """What is tried on images whose residual stays above 1e-4 of what was observed."""

    homotopy: bool = True
    restarts: int = 2


def warm_start(problem: Problem) -> Tensor:
    """Where the search for a stage's input begins: the sum itself behind an identity skip.

    Otherwise the least input whose skip gives the output, or grey where the input is an image.
    """
    known, n = problem.known[0], len(problem.scale)
    if problem.stage.skip is Skip.IDENTITY and len(problem.known) == 1:
        return problem.clamp(known.goal)
    middle = (problem.low + problem.high) / 2 if problem.high < 1e300 else 0.0
    zero = problem.scale.new_full((n, *problem.shape), middle)
    if not problem.stage.is_block:
        return zero
    straight = replace(problem, gain=0.0)
    return solve(straight, zero, Effort(outer=3)).x


def contracts(problem: Problem) -> bool:
    """Whether the fixed-point phase applies: identity skip, nothing after the sum but a slope."""
    known = problem.known
    return (
        problem.stage.skip is Skip.IDENTITY
        and len(known) == 1
        and known[0].exact is None
        and problem.stage.unknowns == problem.stage.outputs
    )


@torch.no_grad()
def peel_stage(problem: Problem, effort: Effort, retries: Retries, rng: Rng) -> Solution:
    """The stage's inputs for a batch of outputs, with what remains unexplained per image.

    Fixed point where it applies, then Gauss-Newton; for images still above 1e-4 the branch's gain
    is raised from 0 to 1 along 1/4, 1/2, 3/4, then the search restarts from disturbed inputs. Of
    all ends of these searches the one with the least residual is kept.
    """
    start = warm_start(problem)
    if contracts(problem):
        # as many equations as unknowns: the limits add nothing where these are met
        free = replace(problem, low=-math.inf, high=math.inf)
        near = mix(free, start, iterations=_ROUNDS, tolerance=_CLOSE)
        found = solve(free, near, replace(effort, outer=_FEW))
        left = (found.outcome != Outcome.CONVERGED).nonzero().flatten()
        if len(left):
            found = found.better_of(solve(problem.take(left), near[left], effort), left)
    else:
        found = solve(problem, start, effort)
    if retries.homotopy and problem.stage.is_block:
        left = _open(found)
        if len(left):
            part = problem.take(left)
            x = warm_start(replace(part, gain=0.0))
            for gain in _GAINS:
                x = solve(replace(part, gain=gain), x, replace(effort, outer=5)).x
            found = found.better_of(solve(part, x, effort), left)
    for restart in range(retries.restarts):
        left = _open(found)
        if not len(left):
            break
        noise = torch.randn(problem.shape, generator=rng.child("restart", restart).torch())
        part, base = problem.take(left), start[left].double()
        spread = base.flatten(1).std(1).clamp(min=_SHARE).view(-1, *(1,) * (base.dim() - 1))
        moved = part.clamp(base + _SHARE * spread * noise.to(base.device).double())
        found = found.better_of(solve(part, moved, effort), left)
    return found


def _open(found: Solution) -> Tensor:
    unsolved = (found.outcome != Outcome.CONVERGED) & (found.misfit > _ENOUGH)
    return unsolved.nonzero().flatten()
