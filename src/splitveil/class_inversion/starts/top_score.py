"""The best of many draws by the model's own confidence: the start of PPA."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from splitveil.class_inversion.access import Level
from splitveil.class_inversion.objective import Problem
from splitveil.class_inversion.starts.base import Begun, Start
from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.shapes import Labels


@dataclass(frozen=True, kw_only=True)
class TopScore(Start):
    """Of `candidates` draws, the `restarts` whose image and mirror image are most of the class.

    A prior without classes is drawn once for all of them: 2 · candidates queries in all. One with
    classes is drawn for each.

    References: Struppek et al., ICML 2022.

    Raises:
        BadPlan: unless there are at least as many candidates as restarts, and one.
    """

    level: ClassVar[Level] = "score"
    restarts: int = 5
    candidates: int = 2000

    def __post_init__(self) -> None:
        if not 1 <= self.restarts <= self.candidates:
            raise BadPlan(f"restarts must lie between 1 and the candidates, got {self}")

    def draw(self, problem: Problem, labels: Labels, rng: Rng) -> Begun:
        problem.target.require(self.level, str(self))
        prior = problem.prior
        n, count = len(labels), self.candidates
        shared = prior.classes is None
        z = prior.draw(count if shared else count * n, rng.torch()).to(labels.device)
        wanted = labels[:1].expand(count) if shared else labels.repeat_interleave(count)
        parts = zip(z.split(1024), wanted.split(1024), strict=True)
        scores = torch.cat([_scores(problem, one, who) for one, who in parts])
        if shared:
            best = scores[:, labels].T.topk(self.restarts).indices
            picked = z[best]
        else:
            own = scores.gather(1, wanted[:, None]).view(n, count)
            best = own.topk(self.restarts).indices
            picked = z.view(n, count, -1).gather(1, best[..., None].expand(-1, -1, z.shape[1]))
        return Begun(picked, torch.ones_like(labels, dtype=torch.bool))


def _scores(problem: Problem, z: Tensor, labels: Tensor) -> Tensor:
    """Mean probabilities of the images of latents and their mirror images, (n, k)."""
    images = problem.images(z, labels)
    return (problem.target.scores(images) + problem.target.scores(images.flip(3))) / 2
