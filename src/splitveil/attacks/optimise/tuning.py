"""Prior weights and the number of steps, chosen on images the attacker owns."""

from dataclasses import dataclass

import torch
from torch import Tensor

from splitveil.attacks.optimise.objective import Objective, Problems
from splitveil.attacks.optimise.search import Plan


@dataclass(frozen=True)
class Choice:
    """Weights of total variation and of the Gaussian prior, and steps to take."""

    variation: float
    gaussian: float
    steps: int


def choices(
    prior: str, weight: float | None, *, nats: bool, image: bool, steps: int
) -> tuple[Choice, ...]:
    """What may be chosen among, the first being the answer where nothing can be held out.

    A Gaussian prior beside a likelihood in nats weighs 1 by Bayes' rule; images are not Gaussian,
    so its neighbours are tried too. Without a known noise the weight is its variance, relative to
    that of the features.
    """
    if prior == "none":
        return (Choice(0.0, 0.0, steps),)
    found: list[Choice] = []
    grid: tuple[float, ...]
    if prior in ("chosen", "gaussian"):
        grid = (1.0, 0.3, 0.1, 3.0) if nats else (1e-1, 1e-4, 1e-3, 1e-2, 1.0)
        grid = grid if weight is None else (weight,)
        found += [Choice(0.0, each, steps) for each in grid]
    if prior in ("chosen", "variation") and image:
        grid = (1e-2, 1e-3, 1e-1, 1.0) if weight is None else (weight,)
        found += [Choice(each, 0.0, steps) for each in grid]
    return tuple(found)


def tuned(
    plan: Plan,
    objective: Objective,
    rows: Tensor,
    truth: Tensor,
    start: Tensor,
    menu: tuple[Choice, ...],
) -> tuple[Choice, Tensor]:
    """The choice with the least error on held-out targets, and all errors.

    Errors are geometric means over targets of the squared error per value, so that a target on
    which every search fails does not decide.

    `truth` and `start` are (m, d), `rows` (m,); the objective's images are these targets. All
    choices are searched side by side from the first guess. Errors are (choices, marks), the marks
    being a quarter, a half and all of the steps.
    """
    m, k = len(truth), len(menu)
    steps = plan.optimiser.steps
    marks = tuple(sorted({max(1, steps // 4), max(1, steps // 2)} - {steps}))
    weights = torch.tensor([[c.variation, c.gaussian] for c in menu], dtype=torch.float64)
    each = weights.to(truth.device).repeat_interleave(m, 0)
    problems = Problems(
        torch.arange(m, device=truth.device).repeat(k), rows.repeat(k), each[:, 0], each[:, 1]
    )
    coarse = torch.zeros(m * k, dtype=torch.bool, device=truth.device)
    found, *_ = plan.solve(objective, problems, start.repeat(k, 1), coarse, marks)
    ends = [*(found.marks[mark] for mark in marks), found.x]
    squared = [(x - truth.repeat(k, 1)).double().square().mean(1).reshape(k, m) for x in ends]
    errors = torch.stack([each.clamp(min=1e-12).log().mean(1).exp() for each in squared], 1)
    best = int(errors.nan_to_num(torch.inf).argmin())
    chosen = menu[best // errors.shape[1]]
    taken = (*marks, steps)[best % errors.shape[1]]
    return Choice(chosen.variation, chosen.gaussian, taken), errors
