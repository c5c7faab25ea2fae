"""Few channels and a decoder to fool: the recipe of ResSFL as one component."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from splitveil.defences.base import Adversary, Batch, Component, Part, Setting, Structure, written
from splitveil.defences.bottleneck import Bottleneck
from splitveil.defences.rebuilder import Rebuilder, images_of
from splitveil.errors import BadPlan

_WINDOW = 11


@dataclass(frozen=True)
class ResSFL(Component):
    """A bottleneck of `channels`, and weight · max(0, SSIM(g(sent), x) - cap) added to the loss.

    With `channels` 0 there is no bottleneck. g learns by squared error, one step of Adam before
    each of the network's. The pull ends where SSIM falls to `cap`. With `end` the weight goes from
    `weight` to that in a straight line over training: a strong attacker first, then a weak one.

    The published recipe first trains an expert, on other images, and goes on from its half with a
    weaker attacker: harden once with `ressfl(2,channels=8)`, then with
    `expert(folder)+ressfl(0.5,channels=0)`, which has no bottleneck of its own.

    It misleads as `adversary` does: judge by decoders trained after it is frozen.

    Raises:
        BadPlan: if weight is not positive, end or channels negative, cap not in [0, 1), or images
            are smaller than 11 pixels.
    """

    name: ClassVar[str] = "ressfl"
    reference: ClassVar[str] = "Li et al. 2022 (ResSFL)"

    weight: float
    channels: int = 8
    cap: float = 0.5
    width: int = 32
    end: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf") or not 0 <= self.cap < 1:
            raise BadPlan(
                f"ressfl: weight must be positive and cap in [0, 1), got {self.weight}, {self.cap}"
            )
        if self.channels < 0 or not 0 <= (self.end or 0) < float("inf"):
            raise BadPlan(
                f"ressfl: channels and end must not be negative, got {self.channels}, {self.end}"
            )
        if self.width < 8 or self.width % 8:
            raise BadPlan(f"ressfl: width must be a multiple of 8, got {self.width}")

    def structure(self, setting: Setting) -> Structure | None:
        return Bottleneck(self.channels).structure(setting) if self.channels else None

    def prepare(self, setting: Setting) -> Part:
        layout, images = setting.crossing(self), images_of(setting, self)
        if min(images.shape[2:]) < _WINDOW:
            raise BadPlan(f"{self}: SSIM needs images of {_WINDOW} pixels or more a side")
        decoder = Rebuilder(layout, images.mean(0), width=self.width, depth=2)

        def rebuilt(batch: Batch) -> Tensor:
            assert batch.sent is not None  # noqa: S101 - there is a cut
            found: Tensor = decoder(batch.sent)
            return found

        def term(batch: Batch) -> Tensor:
            likeness = structural_similarity_index_measure(rebuilt(batch), batch.x, data_range=1.0)
            assert isinstance(likeness, Tensor)  # noqa: S101 - a tuple only where it is asked for
            last = self.weight if self.end is None else self.end
            weight = self.weight + (last - self.weight) * batch.progress
            return weight * (likeness - self.cap).clamp_min(0)

        adversary = Adversary(
            network=decoder, loss=lambda batch: (rebuilt(batch) - batch.x).square().mean()
        )
        return Part(term=term, adversaries=(adversary,))

    def __str__(self) -> str:
        return written(self)
