"""An adversary that should know no more of each pixel than its average distribution."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from splitveil.defences.base import Adversary, Batch, Component, Part, Setting, written
from splitveil.defences.rebuilder import Rebuilder, images_of
from splitveil.errors import BadPlan


@dataclass(frozen=True)
class MaxEntropy(Component):
    """Adds weight · mean over pixels of KL(p(bin | sent) || p(bin)) / ln bins.

    p(bin | sent) is an adversary's answer, learnt by cross-entropy, to which of `bins` equal ranges
    a pixel's value lies in; p(bin) is that pixel's share among training images. Where all bins are
    as frequent this is the published maximum of the adversary's entropy; elsewhere uniform answers
    would ask more ignorance than having seen nothing.

    It misleads as `adversary` does: judge by decoders trained after it is frozen.

    Raises:
        BadPlan: if weight is not positive or there are fewer than two bins.
    """

    name: ClassVar[str] = "maxent"
    reference: ClassVar[str] = "Roy and Boddeti 2019 (maximum-entropy adversary)"

    weight: float
    bins: int = 4
    width: int = 32

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf") or self.bins < 2:
            raise BadPlan(
                f"maxent: weight must be positive and bins at least 2, got {self.weight}, "
                f"{self.bins}"
            )
        if self.width < 8 or self.width % 8:
            raise BadPlan(f"maxent: width must be a multiple of 8, got {self.width}")

    def ranges(self, x: Tensor) -> Tensor:
        """Which bin each value in [0, 1] lies in."""
        return (x * self.bins).long().clamp_(0, self.bins - 1)

    def prepare(self, setting: Setting) -> Part:
        layout, images = setting.crossing(self), images_of(setting, self)
        counts = one_hot(self.ranges(images), self.bins).float().sum(0) + 1 / self.bins
        # (c, h, w, bins) -> bins of every channel side by side, as the decoder gives them
        prior = (counts / counts.sum(-1, keepdim=True)).log().permute(0, 3, 1, 2).flatten(0, 1)
        decoder = Rebuilder(layout, prior, width=self.width, depth=2)
        channels = images.shape[1]

        def answers(batch: Batch) -> Tensor:
            assert batch.sent is not None  # noqa: S101 - there is a cut
            found: Tensor = decoder(batch.sent)
            return found.unflatten(1, (channels, self.bins)).log_softmax(2)

        def mistakes(batch: Batch) -> Tensor:
            truth = self.ranges(batch.x)[:, :, None]
            return -answers(batch).gather(2, truth).mean()

        def term(batch: Batch) -> Tensor:
            found = answers(batch)
            known = prior.to(found.device).unflatten(0, (channels, self.bins))
            apart = (found.exp() * (found - known)).sum(2).mean()
            return self.weight * apart / torch.tensor(float(self.bins)).log()

        return Part(term=term, adversaries=(Adversary(network=decoder, loss=mistakes),))

    def __str__(self) -> str:
        return written(self)
