"""A decoder that learns beside the network, and a price on what it rebuilds."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from splitveil.defences.base import Adversary, Batch, Component, Part, Setting, written
from splitveil.defences.rebuilder import Rebuilder, images_of
from splitveil.errors import BadPlan


@dataclass(frozen=True)
class Adversarial(Component):
    """Adds weight · max(0, R² - cap), R² = 1 - |g(sent) - x|² / |x̄ - x|², g learning against it.

    g decodes what is sent, noise and all, and takes `steps` of Adam before each step of the
    network. R² against the mean image is bounded, so that nothing is won by making g diverge; at
    `cap` or below there is no pull.

    It misleads where this adversary's failure is reported: the encoder has learnt to fool this one
    network. Judge by decoders trained after it is frozen.

    Raises:
        BadPlan: if weight or steps are not positive, or cap not in [0, 1).
    """

    name: ClassVar[str] = "adversary"
    reference: ClassVar[str] = "adversarial representation learning: Xiao et al. 2020"

    weight: float
    cap: float = 0.0
    steps: int = 1
    width: int = 32

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf") or self.steps < 1 or not 0 <= self.cap < 1:
            raise BadPlan(
                "adversary: weight and steps must be positive and cap in [0, 1), got "
                f"{self.weight}, {self.steps}, {self.cap}"
            )
        if self.width < 8 or self.width % 8:
            raise BadPlan(f"adversary: width must be a multiple of 8, got {self.width}")

    def prepare(self, setting: Setting) -> Part:
        layout, images = setting.crossing(self), images_of(setting, self)
        mean = images.mean(0)
        floor = float((images - mean).square().mean())
        if not floor > 0:
            raise BadPlan(f"{self}: all training images are equal, so nothing can be hidden")
        decoder = Rebuilder(layout, mean, width=self.width, depth=2)

        def error(batch: Batch) -> Tensor:
            assert batch.sent is not None  # noqa: S101 - there is a cut
            return (decoder(batch.sent) - batch.x).square().mean() / floor

        def term(batch: Batch) -> Tensor:
            return self.weight * (1 - error(batch) - self.cap).clamp_min(0)

        return Part(
            term=term, adversaries=(Adversary(network=decoder, loss=error, steps=self.steps),)
        )

    def __str__(self) -> str:
        return written(self)
