"""Away from where the class ends, told by labels on growing spheres: the search of BREP-MI."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from splitveil.class_inversion.access import Level
from splitveil.class_inversion.constraints import Box, Constraint
from splitveil.class_inversion.constraints.base import Latents
from splitveil.class_inversion.objective import Problem
from splitveil.class_inversion.searches.base import Found, Memory, OnStep, Search
from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.shapes import Labels, Mask


@dataclass(frozen=True, kw_only=True)
class Sphere(Search):
    """Labels of `points` latents uniform on a sphere about z tell where the class ends.

    With s_i = +1 where the point is of the class and -1 where not: if Σ s_i > `share` · points, z
    is kept as the answer so far and the radius grows by `expand`. Else only the failing points
    push, z' = z + min(R / 3, 3) · mean((s_i - 1) / 2 · u_i) / R, constrained; z' is taken if it is
    of the class. A row ends after `patience` steps at one radius, or beyond the radius `largest`,
    where the class has no end; the answer is z at the last radius passed, or the start. points + 1
    queries a step, points where the radius grows.

    References: Kahla et al., CVPR 2022.

    Raises:
        BadPlan: if a setting is out of range.
    """

    level: ClassVar[Level] = "label"
    radius: float = 2.0
    points: int = 32
    expand: float = 1.3
    share: float = 0.75
    patience: int = 1000
    largest: float = 1000.0
    constraint: Constraint = field(default_factory=lambda: Box(-1.5, 1.5))

    def __post_init__(self) -> None:
        sizes = 0 < self.radius < math.inf and self.points >= 1 and self.patience >= 1
        if not sizes or not self.expand > 1 or not 0 < self.share < 1:
            raise BadPlan(
                "radius, points and patience must be positive, expand above 1 and share in (0, 1): "
                f"got {self}"
            )

    def run(
        self,
        problem: Problem,
        start: Latents,
        labels: Labels,
        begun: Mask,
        rng: Rng,
        on_step: OnStep,
        memory: Memory,
    ) -> Found:
        state = memory.recall() or {
            "z": start.clone(),
            "answer": start.clone(),
            "radius": torch.full_like(start[:, 0], self.radius),
            "waited": torch.zeros_like(labels),
            "steps": torch.zeros_like(labels),
            "rows": begun.nonzero()[:, 0],
            "step": torch.tensor(0),
        }
        z, answer, radius = state["z"], state["answer"], state["radius"]
        waited, steps, rows = state["waited"], state["steps"], state["rows"]
        step = int(state["step"])
        while len(rows):
            around = self._around(z[rows], radius[rows], rng.child("step", step).torch())
            votes = self._votes(problem, z[rows], around, labels[rows])
            passed = votes.sum(1) > self.share * self.points
            answer[rows[passed]] = z[rows[passed]]
            radius[rows[passed]] *= self.expand
            waited[rows] = torch.where(passed, 0, waited[rows] + 1)
            steps[rows] += 1
            z[rows[~passed]] = self._moved(
                problem, z[rows], around, votes, radius[rows], labels[rows], start[rows], ~passed
            )
            on_step(step, problem.images(z, labels), labels)
            rows = rows[(waited[rows] < self.patience) & (radius[rows] <= self.largest)]
            step += 1
            if memory.due():
                memory.keep({**state, "rows": rows, "step": torch.tensor(step)})
        return Found(answer[:, None], steps)

    def _around(self, z: Tensor, radius: Tensor, generator: torch.Generator) -> Tensor:
        """Points uniform on the sphere of each row's radius about zero, (b, points, d)."""
        drawn = torch.randn(len(z), self.points, z.shape[1], generator=generator).to(z)
        return drawn / drawn.norm(dim=2, keepdim=True) * radius[:, None, None]

    def _votes(self, problem: Problem, z: Tensor, around: Tensor, labels: Tensor) -> Tensor:
        """+1 where a point is of its row's class, else -1, (b, points)."""
        points = (z[:, None] + around).flatten(0, 1)
        hits = problem.named(points, labels.repeat_interleave(self.points))
        return torch.where(hits, 1.0, -1.0).to(z).unflatten(0, (-1, self.points))

    def _moved(
        self,
        problem: Problem,
        z: Tensor,
        around: Tensor,
        votes: Tensor,
        radius: Tensor,
        labels: Tensor,
        start: Tensor,
        moving: Tensor,
    ) -> Tensor:
        """Where the moving rows go: away from failing points, if that is still of the class."""
        z, around, votes = z[moving], around[moving], votes[moving]
        radius, labels, start = radius[moving], labels[moving], start[moving]
        if not len(z):
            return z
        pushes = (votes - 1) / 2
        away = (pushes[..., None] * around).mean(1) / radius[:, None]
        tried = z + (radius / 3).clamp(max=3.0)[:, None] * away
        tried = self.constraint.project(tried, start)
        return torch.where(problem.named(tried, labels)[:, None], tried, z)
