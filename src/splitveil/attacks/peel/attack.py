"""PEEL by Gauss-Newton: from one observed tensor of a residual network back to the image."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.evidence import grant
from splitveil.attacks.memory import out_of_memory
from splitveil.attacks.peel.blocks import Stage, find_stages, require_blocks
from splitveil.attacks.peel.course import Course, Limits
from splitveil.attacks.peel.graph import HeadGraph, read_head
from splitveil.attacks.peel.linear import require_gradient
from splitveil.attacks.peel.observed import read_observation, sent, tail_has_blocks
from splitveil.attacks.peel.report import Count, PeelReport
from splitveil.errors import BadPlan, BudgetExceeded, KnowledgeMissing
from splitveil.partition.layout import Layout
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.threat import Observation, QueryFree, WhiteBox


@dataclass(frozen=True, kw_only=True)
class Peel(Attack):
    """Solves a residual network's layers for their inputs, last block first.

    A block y = S x + B(x) with an identity skip has as many equations as unknowns: it is solved by
    itself, by an accelerated fixed point and a semi-smooth Gauss-Newton method with conjugate
    gradients. Behind a block that halves the map, or one with a ReLU after its sum, which leaves
    an inequality where it was 0, the blocks left are solved jointly for the image in [0, 1]. Only
    the one observed tensor is used: no auxiliary image but for its shape, no query, no intermediate
    value. Several sends are averaged first.

    Exact where outputs over unknowns is at least 1 along the whole way and the branches are not
    much stronger than the skips; where it is below 1 (pooled vectors, embeddings, logits) the
    answer is the smoothest image that fits and may be far from the truth at a vanishing residual.
    The residual, which an attacker sees, tells unsolved images but not wrong ones.

    Knowledge: white-box. Cost: for a block some 30 evaluations and 100 products with its Jacobian
    an image; for a joint solution some thousands of products of the whole way. An image's result
    does not depend on its batch; `chunk` images are worked on at once, halved when memory runs out.
    """

    requires: ClassVar[type[QueryFree]] = WhiteBox
    reference: ClassVar[str] = (
        "after Arif, Murugesan, Das, Gittens and Chen 2025 (PEEL); Levenberg-Marquardt with "
        "conjugate gradients in place of the penalty method"
    )

    outer: int = 20
    inner: int = 40
    starts: int = 3
    restarts: int = 1
    chunk: int = 64

    def __post_init__(self) -> None:
        if min(self.outer, self.inner, self.starts, self.chunk) < 1 or self.restarts < 0:
            raise BadPlan(
                f"outer, inner, starts and chunk must be positive, restarts not negative: {self}"
            )

    def fit(self, knowledge: QueryFree, rng: Rng) -> "Peeler":
        """Read the chain of blocks off the head; nothing is learned.

        Raises:
            KnowledgeMissing: if the head is not granted.
            BadInput: if the network has no residual block, cannot be followed, or passes no
                gradient.
        """
        grant(self, knowledge)
        if not isinstance(knowledge, WhiteBox):
            raise KnowledgeMissing(f"{type(self).__name__} needs the head")
        shape = tuple(knowledge.auxiliary.x.shape[1:])
        head = read_head(knowledge.head, shape)
        stages = find_stages(head)
        if not tail_has_blocks(knowledge.tail):
            require_blocks(stages)
        require_gradient(head, head.steps(head.source, head.crossing), head.crossing)
        return Peeler(self, head, stages, knowledge.layout, shape)


@dataclass(frozen=True, eq=False)
class Peeled:
    """Reconstructions (n, *target) and the report on how they came about."""

    x: Tensor
    report: PeelReport


@dataclass(frozen=True, eq=False)
class Peeler(Reconstructor):
    """`Peel` for one head: `count` tells outputs against unknowns before anything is attacked."""

    recipe: Peel
    head: HeadGraph
    stages: tuple[Stage, ...]
    layout: Layout
    shape: tuple[int, ...]

    @property
    def count(self) -> Count:
        """Outputs against unknowns; the starting point is the last stage."""
        start = self.stages[-1].name if self.stages else "the image itself"
        return Count(start, self.layout.size, prod(self.shape))

    def __call__(self, observation: Observation, rng: Rng) -> Targets:
        return self.peel(observation, rng).x

    def noted(self, observation: Observation, rng: Rng) -> tuple[Targets, tuple[str, ...]]:
        found = self.peel(observation, rng)
        return found.x, found.report.warnings

    def peel(self, observation: Observation, rng: Rng, *, diagnosed: int = 0) -> Peeled:
        """Reconstructions and their report; singular values for the first `diagnosed` images.

        Raises:
            BadInput: if z does not fit the layout or is not finite.
            BudgetExceeded: if memory gives out with one image at a time.
        """
        z = read_observation(observation, self.layout)
        x = torch.zeros(len(z), *self.shape)
        if not self.stages and len(z):
            (x,) = sent(self.head, self.layout, z.float())
        courses: list[Course] = []
        chunk, at = self.recipe.chunk, 0
        while self.stages and at < len(z):
            few = diagnosed if at == 0 else 0
            try:
                course = self._course(z[at : at + chunk], rng, few)
                x[at : at + chunk] = course.finish().to(x)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                if chunk == 1:
                    raise BudgetExceeded(
                        "not enough memory to peel one image at a time: choose an earlier cut or "
                        "a machine with more memory"
                    ) from error
                chunk = max(1, chunk // 2)
                continue
            courses.append(course)
            at += chunk
        if len(self.shape) == 3:
            x = x.clamp(0, 1)
        return Peeled(x.detach(), _merged(self.count, courses))

    def _course(self, z: Tensor, rng: Rng, diagnosed: int) -> Course:
        recipe = self.recipe
        limits = Limits(
            outer=recipe.outer,
            inner=recipe.inner,
            starts=recipe.starts,
            restarts=recipe.restarts,
        )
        observed = sent(self.head, self.layout, z)
        return Course(self.head, self.stages, self.shape, observed, limits, rng, diagnosed)


def _merged(count: Count, courses: Sequence[Course]) -> PeelReport:
    """One report of several chunks: stages of the first, misfits of all."""
    if not courses:
        return PeelReport(count, (), None, torch.zeros(0))
    stopped = next((course.stopped for course in courses if course.stopped), None)
    misfit = torch.cat([course.misfit.float().cpu() for course in courses])
    notes = ("stages as in the first chunk",) if len(courses) > 1 else ()
    return PeelReport(count, tuple(courses[0].reports), stopped, misfit, notes)
