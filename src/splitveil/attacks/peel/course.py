"""One chunk of images on their way back through the chain of stages."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from splitveil.attacks.peel.blocks import Skip, Stage, joined, rearrangement
from splitveil.attacks.peel.chain import Retries, peel_stage
from splitveil.attacks.peel.gauss_newton import Effort, Outcome, Solution, solve
from splitveil.attacks.peel.graph import HeadGraph
from splitveil.attacks.peel.prefix import Continuation, solve_prefix
from splitveil.attacks.peel.problem import Problem, pose
from splitveil.attacks.peel.report import StageReport
from splitveil.attacks.peel.sensitivity import sensitivity
from splitveil.rng import Rng

_SOLVED, _POLISH = 1e-4, 1e-5
# equations per unknown from which a stage is solved by itself
_ASKED = {Skip.IDENTITY: 1.0, Skip.NONE: 1.0, Skip.PROJECTION: 1.5}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How hard to try: the settings of `Peel` that a course needs."""

    outer: int
    inner: int
    starts: int
    restarts: int


class Course:
    """One chunk of images on their way back; `finish` runs it, then it holds what happened."""

    def __init__(
        self,
        head: HeadGraph,
        stages: Sequence[Stage],
        shape: tuple[int, ...],
        observed: tuple[Tensor, ...],
        limits: Limits,
        rng: Rng,
        diagnosed: int,
    ) -> None:
        self.reports: list[StageReport] = []
        self.stopped: str | None = None
        self.misfit = torch.zeros(len(observed[0]))
        self._tried = torch.zeros(len(observed[0]), dtype=torch.bool)
        self._head = head
        self._stages = tuple(stages)
        self._whole = joined(head, stages)
        self._shape = shape
        self._observed = observed
        self._limits = limits
        self._rng = rng
        self._diagnosed = diagnosed
        self._effort = Effort(outer=limits.outer, inner=limits.inner)

    @torch.no_grad()
    def finish(self) -> Tensor:
        """Reconstructions of the chunk."""
        stages = self._stages
        y = self._observed
        n, device = len(y[0]), y[0].device
        alive = torch.arange(n, device=device)
        x = torch.full((n, *self._shape), 0.5, dtype=torch.float64, device=device)
        done = torch.zeros(n, dtype=torch.bool, device=device)
        for level in range(len(stages) - 1, -1, -1):
            stage = stages[level]
            problem = self._pose(stage, y, image=level == 0)
            order = rearrangement(self._head, stage)
            direct = _read_directly(stage, y)
            if direct is not None or order is not None:
                y = (direct if direct is not None else _undo(y[0], order, problem.shape),)
            else:
                fits = self._fits(problem, last=level == 0)
                self._stop(stage, int((~fits).sum()))
                short = (~fits).nonzero().flatten()
                if len(short):
                    rest = tuple(value[short] for value in y)
                    self._prefix(stages[: level + 1], rest, alive[short], x, done)
                if len(short) == len(alive):
                    alive = alive[:0]
                    break
                y, alive = self._peel(stage, problem, fits, alive)
            if not len(alive):
                break
        if len(alive):
            x[alive], done[alive] = y[0].double(), True
        self._rest(x, done)
        return x

    def _fits(self, problem: Problem, *, last: bool) -> Tensor:
        """For which images a stage can be solved by itself.

        Before the last stage to be peeled nothing is left to solve jointly with it: equations that
        a ReLU took are made up for by its inequalities and the box.
        """
        stage = problem.stage
        if last and stage.outputs >= stage.unknowns:
            return torch.ones_like(problem.scale, dtype=torch.bool)
        return problem.equations >= _ASKED[stage.skip] * stage.unknowns

    def _peel(
        self, stage: Stage, problem: Problem, fits: Tensor, alive: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """The stage's inputs for the images it could be solved for, and which these are."""
        kept = fits.nonzero().flatten()
        problem, alive = problem.take(kept), alive[kept]
        began = time.perf_counter()
        retries = Retries(restarts=self._limits.restarts)
        found = peel_stage(problem, self._effort, retries, self._rng.child(stage.name))
        solved = (found.misfit <= _SOLVED) & (found.outcome != Outcome.DIVERGED)
        kind = f"{stage.skip} block" if stage.is_block else "layers"
        self._note(stage, problem, found, solved, time.perf_counter() - began, kind)
        self._stop(stage, int((~solved).sum()))
        return (found.x[solved],), alive[solved]

    def _prefix(
        self,
        stages: Sequence[Stage],
        y: tuple[Tensor, ...],
        index: Tensor,
        x: Tensor,
        done: Tensor,
    ) -> None:
        """Solve a stretch jointly for the images at `index`, and write them to x.

        Images with fewer equations than unknowns are solved apart: there the prior stays.
        """
        stage = joined(self._head, stages)
        problem = self._pose(stage, y, image=True)
        continuation = Continuation(starts=self._limits.starts)
        short = problem.equations < stage.unknowns
        for few, mask in ((False, ~short), (True, short)):
            chosen = mask.nonzero().flatten()
            if not len(chosen):
                continue
            part = problem.take(chosen)
            began = time.perf_counter()
            rng = self._rng.child("prefix", stage.name)
            found = solve_prefix(part, self._effort, continuation, rng, few=few)
            solved = found.misfit <= _SOLVED
            kind = "joint, prior-limited" if few else "joint"
            self._note(stage, part, found, solved, time.perf_counter() - began, kind)
            x[index[chosen]], done[index[chosen]] = found.x, solved
            self._tried[index[chosen].to(self._tried.device)] = True

    def _rest(self, x: Tensor, done: Tensor) -> None:
        """Solve what the chain lost from what was observed; polish what it solved and misfits."""
        whole = self._whole
        problem = self._pose(whole, self._observed, image=True)
        lost = (~done & ~self._tried.to(done.device)).nonzero().flatten()
        if len(lost):
            part = tuple(value[lost] for value in self._observed)
            self._prefix(self._stages, part, lost, x, done)
        self.misfit = problem.misfit(x)
        rough = (done & (self.misfit > _POLISH)).nonzero().flatten()
        if len(rough):
            part_problem = problem.take(rough)
            polished = solve(part_problem, x[rough], self._effort)
            better = polished.misfit < self.misfit[rough]
            x[rough[better]] = polished.x[better]
            self.misfit[rough[better]] = polished.misfit[better]

    def _pose(self, stage: Stage, y: tuple[Tensor, ...], *, image: bool) -> Problem:
        if image and len(self._shape) == 3:
            return pose(self._head, stage, y, low=0.0, high=1.0)
        if stage.nonnegative:
            return pose(self._head, stage, y, low=0.0)
        return pose(self._head, stage, y)

    def _stop(self, stage: Stage, missing: int) -> None:
        if missing and self.stopped is None:
            self.stopped = stage.name

    def _note(
        self,
        stage: Stage,
        problem: Problem,
        found: Solution,
        solved: Tensor,
        seconds: float,
        kind: str,
    ) -> None:
        count = len(found.misfit)
        sigma = amplification = None
        few = min(self._diagnosed, count)
        if few:
            index = torch.arange(few, device=found.x.device)
            sigma, amplification = sensitivity(problem.take(index), found.x[index])
        self.reports.append(
            StageReport(
                name=stage.name,
                kind=kind,
                outputs=stage.outputs,
                unknowns=stage.unknowns,
                equations=float(problem.equations.float().mean()),
                images=count,
                solved=int(solved.sum()),
                misfit=(float(found.misfit.median()), float(found.misfit.max())),
                steps=float(found.steps.float().mean()),
                products=float(found.products.float().mean()),
                seconds=seconds,
                sigma=sigma,
                amplification=amplification,
            )
        )


def _read_directly(stage: Stage, y: tuple[Tensor, ...]) -> Tensor | None:
    """The stage's input where it is among what was sent."""
    for end, value in zip(stage.ends, y, strict=True):
        if end.value is stage.source:
            return value
    return None


def _undo(y: Tensor, order: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    flat = y.flatten(1)
    x = torch.empty_like(flat)
    x[:, order] = flat
    return x.reshape(len(y), *shape)
