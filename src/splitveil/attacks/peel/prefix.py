"""Solving for the image through several stages at once.

Behind a stage with fewer outputs than inputs no input of that stage can be told from others; the
image, which has fewer values still, often can. The image x in [0, 1] minimises

    |f(x) - y|^2 + w |y|^2 / n TV(x),

w annealed to 0 (but kept above it where there are fewer equations than unknowns),
from grey and from smooth random images, all in one batch; the least residual wins.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from splitveil.attacks.peel.gauss_newton import Effort, Outcome, Solution, solve
from splitveil.attacks.peel.problem import Problem
from splitveil.rng import Rng

_ENOUGH = 1e-5


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """Weights of total variation, strongest first, with outer steps each; starts per image."""

    weights: tuple[float, ...] = (0.1, 0.01, 0.001)
    steps: int = 6
    last: int = 30
    starts: int = 2


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
    n = len(problem.scale)
    grey = problem.scale.new_full((n, *problem.shape), 0.5)
    found = _anneal(problem, grey, effort, continuation, few=few)
    if few:
        return found
    left = ((found.misfit > _ENOUGH) & (found.outcome != Outcome.DIVERGED)).nonzero().flatten()
    extra = continuation.starts - 1
    if len(left) and extra > 0 and len(problem.shape) == 3:
        index = left.repeat_interleave(extra)
        seeds = _smooth(problem.shape, extra, rng).to(grey)
        many = _anneal(
            problem.take(index), seeds.repeat(len(left), 1, 1, 1), effort, continuation, few=few
        )
        best = many.misfit.view(-1, extra).argmin(1) + extra * torch.arange(
            len(left), device=left.device
        )
        products, steps = (v.view(-1, extra).sum(1) for v in (many.products, many.steps))
        chosen = Solution(many.x[best], many.misfit[best], many.outcome[best], steps, products)
        found = found.better_of(chosen, left)
    return found


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


def _smooth(shape: tuple[int, ...], count: int, rng: Rng) -> Tensor:
    """Random images of a few soft patches, the same for every target and batch."""
    coarse = torch.rand(count, shape[0], 4, 4, generator=rng.child("starts").torch())
    return F.interpolate(coarse, shape[-2:], mode="bilinear", align_corners=False)
