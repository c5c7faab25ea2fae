"""The first draws that the model names as the class: the start of BREP-MI."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from splitveil.class_inversion.access import Level
from splitveil.class_inversion.constraints import Box
from splitveil.class_inversion.objective import Problem
from splitveil.class_inversion.starts.base import Begun, Start
from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.shapes import Labels


@dataclass(frozen=True, kw_only=True)
class LabelSearch(Start):
    """Draws inside `box`, `batch` at a time, until every class has `restarts` that are named so.

    A prior without classes is drawn for all classes together: a draw serves whichever class it is
    named as. After `most` draws a class with fewer is given its own again, and one without any is
    not found: it keeps a draw of another class.

    References: Kahla et al., CVPR 2022.

    Raises:
        BadPlan: if a number is not positive.
    """

    level: ClassVar[Level] = "label"
    restarts: int = 1
    batch: int = 256
    most: int = 100_000
    box: Box = field(default_factory=lambda: Box(-1.5, 1.5))

    def __post_init__(self) -> None:
        if min(self.restarts, self.batch, self.most) < 1:
            raise BadPlan(f"restarts, batch and most must be positive, got {self}")

    def draw(self, problem: Problem, labels: Labels, rng: Rng) -> Begun:
        prior, n = problem.prior, len(labels)
        shape = (n, self.restarts, prior.latent)
        generator = rng.torch()
        z = prior.draw(n * self.restarts, generator).to(labels.device).view(shape)
        z = z.clamp(self.box.low, self.box.high)
        have = torch.zeros_like(labels)
        drawn = 0
        while drawn < self.most and bool((have < self.restarts).any()):
            tried = prior.draw(self.batch, generator).to(labels.device)
            tried = tried.clamp(self.box.low, self.box.high)
            missing = (have < self.restarts).nonzero()[:, 0]
            turns = torch.arange(self.batch, device=labels.device) % len(missing)
            asked = labels[missing[turns]]
            named = problem.target.labels(problem.images(tried, asked))
            fits = named[:, None] == labels[None, :]
            if prior.classes is not None:
                fits &= asked[:, None] == labels[None, :]
            # the place each draw would have among its class's starts
            place = have[None, :] + fits.cumsum(0) - 1
            draw, row = (fits & (place < self.restarts)).nonzero(as_tuple=True)
            z[row, place[draw, row]] = tried[draw]
            have = (have + fits.sum(0)).clamp(max=self.restarts)
            drawn += self.batch
        places = torch.arange(self.restarts, device=labels.device)
        again = torch.where(have[:, None] > 0, places % have.clamp(min=1)[:, None], places)
        z = z.gather(1, again[..., None].expand(-1, -1, prior.latent))
        return Begun(z, have > 0)
