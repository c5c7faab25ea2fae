"""Solving for the image through several stages at once.

Behind a stage with fewer outputs than inputs no input of that stage can be told from others; the
image, which has fewer values still, often can. The image x in [0, 1] minimises

    |f(x) - y|^2 + w |y|^2 / n TV(x),

w annealed to 0 (but kept above it where there are fewer equations than unknowns),
from the even and smooth random images that fit each target best; the least residual wins.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from splitveil.attacks.peel.gauss_newton import Effort, Outcome, Solution, solve
from splitveil.attacks.peel.problem import Problem
from splitveil.rng import Rng

_ENOUGH = 1e-5
_GREYS, _SMOOTH = (0.5, 0.02, 0.25, 0.75, 0.98), 6


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """Weights of total variation, strongest first, with outer steps each; starts per image."""

    weights: tuple[float, ...] = (0.1, 0.01, 0.001)
    steps: int = 6
    last: int = 30
    starts: int = 3


@torch.no_grad()
def solve_prefix(
    problem: Problem,
    effort: Effort,
    continuation: Continuation,
    rng: Rng,
    *,
    few: bool = False,
) -> Solution:
    """Images from what a stretch of stages gave; see the module.

    Where equations are `few`, fewer than unknowns, the last weight stays and one start is enough:
    the result is a smooth fit, and a small residual proves nothing.
    """
    starts = _starts(problem, 1 if few else continuation.starts, rng)
    found = _anneal(problem, starts[0], effort, continuation, few=few)
    for start in starts[1:]:
        left = ((found.misfit > _ENOUGH) & (found.outcome != Outcome.DIVERGED)).nonzero().flatten()
        if not len(left):
            break
        again = _anneal(problem.take(left), start[left], effort, continuation, few=few)
        found = found.better_of(again, left)
    return found


def _starts(problem: Problem, count: int, rng: Rng) -> Tensor:
    """For each image the `count` best of some even and smooth ones: (count, n, ...)."""
    n, shape = len(problem.scale), problem.shape
    flat = torch.tensor(_GREYS, dtype=torch.float64).view(-1, *(1,) * len(shape))
    pool = [flat.expand(-1, *shape)]
    if len(shape) == 3:
        coarse = torch.rand(_SMOOTH, shape[0], 4, 4, generator=rng.child("starts").torch())
        smooth = F.interpolate(coarse, shape[-2:], mode="bilinear", align_corners=False)
        pool.append(smooth.double())
    seeds = torch.cat(pool).to(problem.scale.device)
    misfits = torch.stack([problem.misfit(seed.expand(n, *shape)) for seed in seeds])
    chosen = misfits.argsort(dim=0, stable=True)[: min(count, len(seeds))]
    return seeds[chosen]


def _anneal(
    problem: Problem, start: Tensor, effort: Effort, continuation: Continuation, *, few: bool
) -> Solution:
    x = start
    steps = products = torch.zeros(len(start), dtype=torch.int64, device=start.device)
    weights = continuation.weights if len(problem.shape) == 3 else ()
    for weight in weights:
        part = solve(
            replace(problem, variation=weight), x, replace(effort, outer=continuation.steps)
        )
        x = part.x
        steps, products = steps + part.steps, products + part.products
    if few and weights:
        return Solution(x, problem.misfit(x), part.outcome, steps, products)
    last = solve(problem, x, replace(effort, outer=continuation.last))
    return Solution(last.x, last.misfit, last.outcome, last.steps + steps, last.products + products)
