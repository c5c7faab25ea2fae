"""Query-free inversion: a stand-in for the head, learnt from the tail alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.evidence import targets
from splitveil.attacks.groundwork import FEWEST
from splitveil.attacks.inverse_network import InverseNetwork
from splitveil.attacks.small_decoder import SmallDecoder
from splitveil.errors import BadInput, BadPlan
from splitveil.nets.shadow import ShadowEncoder as Shadow
from splitveil.partition.types import Cut, CutKind, Partition
from splitveil.release.identity import Identity
from splitveil.rng import Rng
from splitveil.shapes import Labels
from splitveil.threat import QueryFree, white_box
from splitveil.training import Schedule, fit


@dataclass(frozen=True, kw_only=True)
class ShadowEncoder(Attack):
    """Train f̃ so that the real tail classifies f̃(x), then a decoder of f̃, and turn that on z.

    f̃ minimises cross-entropy of tail(f̃(x)) on the attacker's own labelled images, plus
    `statistics` times how far inputs of the tail's BatchNorm layers are from their running mean
    and variance, (μ - μ̂)² / σ̂² + (ln σ²/σ̂²)², averaged: the tail remembers what features it was
    trained on. Without labels, confident and varied answers take the place of right ones. Its own
    architecture is a guess from the shapes.

    Many encoders please one tail, and one that differs from the head by a recoding that the tail
    does not notice gives a wrong picture of z: deep cuts, after which little happens, hide more
    from this attack than from one that may ask. Without BatchNorm in the tail it is weaker.

    Knowledge: query-free. Cost: each epoch the tail forward and backward on all auxiliary images;
    then the decoder.
    """

    requires: ClassVar[type[QueryFree]] = QueryFree
    reference: ClassVar[str] = "query-free inversion by a shadow model, He, Zhang & Lee 2019"

    decoder: InverseNetwork = field(default_factory=SmallDecoder)
    epochs: int = 12
    width: int = 32
    batch: int = 64
    learning_rate: float = 2e-3
    statistics: float = 1.0

    def __post_init__(self) -> None:
        if self.width < 8 or self.width % 8 or not self.statistics >= 0:
            raise BadPlan(f"width must be a multiple of 8 and statistics not negative: {self}")
        self.schedule()

    def schedule(self) -> Schedule:
        """The training schedule of the stand-in."""
        return Schedule(epochs=self.epochs, batch=self.batch, learning_rate=self.learning_rate)

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        shadow = self.stand_in(knowledge, rng.child("shadow"))
        cut = Cut("shadow", "shadow", CutKind.OTHER, 0.5, knowledge.layout)
        own = white_box(
            Partition(cut, shadow, Identity(), knowledge.tail),
            knowledge.auxiliary,
            knows_label=knowledge.knows_label,
        )
        return self.decoder.fit(own, rng.child("decoder"))

    def stand_in(self, knowledge: QueryFree, rng: Rng) -> nn.Module:
        """The shadow of the head.

        Raises:
            BadInput: if there are fewer than twelve targets, or the tail's answers are no logits
                for their labels.
        """
        found = targets(self, knowledge)
        if len(found.x) < FEWEST:
            raise BadInput(
                f"a shadow encoder needs at least {FEWEST} auxiliary targets, got {len(found.x)}: "
                "give the attacker more data"
            )
        x, y = found.x.unflatten(1, found.shape), knowledge.auxiliary.y
        parts = tuple(
            (p.multiplicity * p.shape[0], *p.shape[1:]) if p.shape else (1,)
            for p in knowledge.layout.parts
        )
        with rng.child("init").as_global():
            shadow = Shadow(found.shape, parts, width=self.width).to(x.device)
        tail = _Frozen(knowledge.tail)
        with torch.no_grad():
            _check(tail(shadow(x[:2])), y)

        def loss(net: nn.Module, indices: Tensor, generator: torch.Generator) -> Tensor:
            seen: list[Tensor] = []
            with _watching(knowledge.tail, seen):
                answers = tail(net(x[indices]))
            own = None if y is None else y[indices].to(x.device)
            value = _confident(answers) if own is None else cross_entropy(answers, own)
            if seen:
                value = value + self.statistics * torch.stack(seen).mean()
            return value

        fit(
            shadow,
            loss,
            size=len(x),
            schedule=self.schedule(),
            rng=rng.child("training"),
            device=x.device.type,
        )
        return shadow


class _Frozen:
    """The tail in evaluation mode, differentiable in its input, without gradients of its own."""

    def __init__(self, tail: nn.Module) -> None:
        self._tail = tail
        self._values = {
            name: value.detach()
            for name, value in (*tail.named_parameters(), *tail.named_buffers())
        }

    def __call__(self, z: Tensor) -> Tensor:
        modes = [(part, part.training) for part in self._tail.modules()]
        try:
            self._tail.eval()
            out: Tensor = functional_call(self._tail, self._values, (z,))
        finally:
            for part, training in modes:
                part.training = training
        return out


@contextmanager
def _watching(tail: nn.Module, seen: list[Tensor]) -> Iterator[None]:
    """Collect how far the inputs of BatchNorm layers are from what the tail remembers."""

    def watch(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        axes = [0, *range(2, inputs[0].ndim)]
        mean, variance = inputs[0].mean(axes), inputs[0].var(axes, unbiased=False)
        known, spread = layer.running_mean, layer.running_var
        if isinstance(known, Tensor) and isinstance(spread, Tensor):
            apart = (mean - known).square() / (spread + 1e-5)
            ratio = ((variance + 1e-5) / (spread + 1e-5)).log()
            seen.append((apart + ratio.square()).mean())

    kinds = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
    hooks = [
        part.register_forward_pre_hook(watch) for part in tail.modules() if isinstance(part, kinds)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _confident(answers: Tensor) -> Tensor:
    """Entropy of each answer less that of their mean: least where answers are sure and varied."""
    shares = answers.softmax(1)
    each = -(shares * shares.clamp(min=1e-9).log()).sum(1).mean()
    mean = shares.mean(0)
    return each + (mean * mean.clamp(min=1e-9).log()).sum()


def _check(answers: Tensor, y: Labels | None) -> None:
    if answers.ndim != 2 or answers.shape[1] < 2:
        raise BadInput(
            f"the shadow encoder needs a tail that answers with logits (n, classes), got "
            f"{tuple(answers.shape)}: use a black-box attack"
        )
    if y is not None and not 0 <= int(y.min()) <= int(y.max()) < answers.shape[1]:
        raise BadInput(
            f"auxiliary labels run from {int(y.min())} to {int(y.max())}, the tail knows "
            f"{answers.shape[1]} classes: give labels that fit"
        )
