"""A decoder's answer, then steps downhill until the head's answer to it fits what was sent."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import ClassVar

import torch
from torch import Tensor

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.decoder import Decoder
from splitveil.attacks.evidence import grant, in_shape, observed
from splitveil.attacks.groundwork import Groundwork
from splitveil.attacks.inverse_network import Decoded, InverseNetwork, held_out
from splitveil.attacks.memory import halving
from splitveil.attacks.misfit import Misfit
from splitveil.errors import BadPlan, KnowledgeMissing
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.threat import Observation, QueryFree, WhiteBox

_BATCH = 256
_TRIED = 64
_SHRINK = 0.3
_PULLS = (0.0, 0.1, 1.0)


@dataclass(frozen=True, eq=False)
class Refining(Reconstructor):
    """The decoder, the misfit, and how long and how freely to go on from its answer.

    `held_out` is the squared error per value on held-out auxiliary targets by pull and step; the
    first column is the decoder's own. `pull` and `steps` are those of the least.
    """

    decoded: Decoded
    misfit: Misfit
    pull: float
    steps: int
    held_out: Tensor

    def __call__(self, observation: Observation, rng: Rng) -> Targets:
        decoded = self.decoded
        device = decoded.guesses.fitted[0].x_mean.device
        z, rows = observed(observation, decoded.layout, decoded.classes, device)
        start = decoded.predict(z, rows)
        if not len(z) or not self.steps:
            return in_shape(start, decoded.shape)

        def by(size: int) -> Tensor:
            batches = zip(start.split(size), z.split(size), strict=True)
            return torch.cat([self._from(x, q) for x, q in batches])

        return in_shape(halving(by, _BATCH), decoded.shape)

    def _from(self, start: Tensor, z: Tensor) -> Tensor:
        ways = descend(self.decoded, self.misfit, start, z, self.pull)
        return next(islice(ways, self.steps - 1, None))


@dataclass(frozen=True, kw_only=True)
class Refined(Attack):
    """x_0 = a decoder's answer, then gradient steps on J(x) = misfit + pull · |x - x_0|² / e².

    The misfit is ½ mean |S(f(x) - z)|², with features scaled by channel, and e² the decoder's error
    on held-out auxiliary images. Every image has a step size of its own (Barzilai-Borwein, shrunk
    whenever J would rise), so images do not couple. The pull and the number of steps, 0 among
    them, are those with the least error on at most 64 auxiliary images that the decoder was not
    trained on: on average over such images it is never worse than the decoder.

    It gains where z fixes what the decoder did not learn to read: early cuts, few auxiliary images.
    It stops at once where z is noisy or says little.

    Knowledge: white-box. Cost: the decoder, then at most `steps` times the head forward and
    backward an image.
    """

    requires: ClassVar[type[QueryFree]] = WhiteBox
    reference: ClassVar[str] = "decoder initialisation with gradient refinement; BB steps of 1988"

    decoder: InverseNetwork = field(default_factory=Decoder)
    steps: int = 40

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise BadPlan(f"steps must be at least 1, got {self.steps}")

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        grant(self, knowledge)
        laid = Groundwork.lay(self.decoder, knowledge, self.decoder.ground, rng)
        return self.learn(laid, knowledge, rng)

    def learn(self, laid: Groundwork, knowledge: QueryFree, rng: Rng) -> Refining:
        """Train the decoder on groundwork already laid, then find how long to go on from it."""
        if not isinstance(knowledge, WhiteBox):
            raise KnowledgeMissing("Refined needs WhiteBox knowledge: it follows the head's slope")
        decoded = self.decoder.learn(laid, knowledge, rng)
        misfit = Misfit(knowledge.head, laid.standard)
        chosen = held_out(laid.places.shape[1], rng)[0][:_TRIED]
        found = laid.found.take(chosen)
        with torch.no_grad():
            start = decoded.correct(decoded.net, found.z, laid.guessed[chosen], found.rows)
        table = [
            [_error(x, found.x) for x in (start, *islice(ways, self.steps))]
            for pull in _PULLS
            if (ways := descend(decoded, misfit, start, found.z, pull))
        ]
        errors = torch.tensor(table)
        best = int(errors.argmin())
        steps = best % errors.shape[1]
        return Refining(decoded, misfit, _PULLS[best // errors.shape[1]], steps, errors)


def _error(x: Tensor, truth: Tensor) -> float:
    return float((x - truth).square().mean())


def descend(
    decoded: Decoded, misfit: Misfit, start: Tensor, z: Tensor, pull: float
) -> Iterator[Tensor]:
    """Endless better answers (n, d), from `start` (n, d), one head pass each.

    An image's step is taken if its J falls; then the next is <s, s> / <s, y>, for its move s and
    the change y of its slope, else it shrinks.
    """
    image = len(decoded.shape) == 3
    scaled = decoded.standard(z)
    weight = pull / max(min(decoded.held_out), 1e-12)

    def look(x: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = misfit(x.unflatten(1, decoded.shape), scaled)
        away = x - start
        return (
            value + 0.5 * weight * away.square().mean(1),
            slope.flatten(1) + weight * away / x.shape[1],
        )

    x = start.clamp(0, 1) if image else start
    value, slope = look(x)
    size = slope.square().mean(1).sqrt().clamp(min=1e-20)
    step = 0.1 * min(decoded.held_out) ** 0.5 / size
    while True:
        tried = x - step[:, None] * slope
        tried = tried.clamp(0, 1) if image else tried
        reached, turned = look(tried)
        better = reached < value
        move, change = tried - x, turned - slope
        curved = (move * change).sum(1)
        ahead = torch.where(curved > 0, move.square().sum(1) / curved.clamp(min=1e-30), 2 * step)
        step = torch.where(better, ahead, _SHRINK * step)
        x = torch.where(better[:, None], tried, x)
        value = torch.where(better, reached, value)
        slope = torch.where(better[:, None], turned, slope)
        yield x
