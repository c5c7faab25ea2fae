"""Query-free inversion without auxiliary features: images and a stand-in fitted to z in turns."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.classes import Classes
from splitveil.attacks.evidence import in_shape, observed, targets
from splitveil.errors import BadPlan
from splitveil.nets.shadow import ShadowEncoder
from splitveil.partition.layout import Layout
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.threat import Observation, QueryFree

_STEP = 0.02
_TEACH = 2e-3


@dataclass(frozen=True, eq=False)
class Splitting(Reconstructor):
    """Where the search starts: the mean image (of the class), (classes + 1, d)."""

    settings: "UnSplit"
    x_mean: Tensor
    classes: Classes
    layout: Layout
    shape: tuple[int, ...]

    def __call__(self, observation: Observation, rng: Rng) -> Targets:
        z, rows = observed(observation, self.layout, self.classes, self.x_mean.device)
        start = self.x_mean[rows]
        if not len(z):
            return in_shape(start, self.shape)
        scale = z.std().clamp(min=1e-6)
        return in_shape(self._search(start, (z - z.mean()) / scale, rng), self.shape)

    def _search(self, start: Tensor, z: Tensor, rng: Rng) -> Tensor:
        settings = self.settings
        parts = tuple(
            (p.multiplicity * p.shape[0], *p.shape[1:]) if p.shape else (1,)
            for p in self.layout.parts
        )
        with rng.child("init").as_global():
            clone = ShadowEncoder(self.shape, parts, width=settings.width).to(z.device)
        x = nn.Parameter(start.unflatten(1, self.shape).clone())
        # one step size a value, so what one image needs does not steer the others
        search = torch.optim.Adam([x], lr=_STEP)
        teach = torch.optim.Adam(clone.parameters(), lr=_TEACH)
        image = len(self.shape) == 3
        for _ in range(settings.rounds):
            for optimiser, steps in ((teach, settings.steps), (search, settings.steps)):
                for _ in range(steps):
                    teach.zero_grad(set_to_none=True)
                    search.zero_grad(set_to_none=True)
                    apart = (clone(x) - z).square().mean(1)
                    (apart.sum() + settings.smoothness * _variation(x).sum()).backward()
                    optimiser.step()
                    with torch.no_grad():
                        x.clamp_(*((0, 1) if image else (-torch.inf, torch.inf)))
        return x.detach().flatten(1)


@dataclass(frozen=True, kw_only=True)
class UnSplit(Attack):
    """min over images x and a stand-in f̃ of |f̃(x) - z|² + smoothness · TV(x), in turns.

    Starts at the mean auxiliary image, of the class where it is known; needs no features of any
    image, no query, and no head. f̃ is a small convolutional network of the shapes that cross,
    fitted to all observed images together: so an answer depends on its batch, and a batch of one is
    hopeless. What it finds is known up to whatever a network can undo, brightness and contrast
    among it; it does something at the first layers only.

    Knowledge: query-free. Cost: 2 · `rounds` · `steps` passes of a small network, forward and
    backward, an image.
    """

    requires: ClassVar[type[QueryFree]] = QueryFree
    reference: ClassVar[str] = "UnSplit, Erdogan, Kupcu & Cicek 2022"

    rounds: int = 20
    steps: int = 10
    width: int = 16
    smoothness: float = 0.05

    def __post_init__(self) -> None:
        if min(self.rounds, self.steps) < 1 or self.width < 8 or self.width % 8:
            raise BadPlan(f"rounds and steps must be at least 1 and width a multiple of 8: {self}")
        if not self.smoothness >= 0:
            raise BadPlan(f"smoothness must not be negative, got {self.smoothness}")

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        found = targets(self, knowledge)
        mean = found.classes.means(found.x, found.rows)
        return Splitting(self, mean, found.classes, knowledge.layout, found.shape)


def _variation(x: Tensor) -> Tensor:
    """Mean absolute difference of neighbours, one an image; 0 for vectors."""
    if x.ndim != 4:
        return x.new_zeros(len(x))
    down = (x[:, :, 1:] - x[:, :, :-1]).abs().flatten(1).mean(1)
    across = (x[:, :, :, 1:] - x[:, :, :, :-1]).abs().flatten(1).mean(1)
    return down + across
