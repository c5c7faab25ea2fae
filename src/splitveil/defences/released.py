"""Any release of the release room, in place while the network is trained."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from splitveil.defences.base import Component, Part, Setting, TrainedRelease
from splitveil.release import ClippedGaussian, ReleaseRecipe
from splitveil.shapes import Features


@dataclass(frozen=True)
class Released(Component):
    """Trains with a release between the halves, fitted anew to every batch.

    Where what is sent has no slope in z, as behind rounding, gradients pass straight through.
    Scales of the release count as constants; `noise` lets them carry gradient.

    It misleads where a release calibrated on a batch differs from one calibrated on many images:
    use large batches.
    """

    name: ClassVar[str] = "release"
    reference: ClassVar[str] = "straight-through gradients: Bengio et al. 2013"

    recipe: ReleaseRecipe

    def prepare(self, setting: Setting) -> Part:
        z = setting.features(self)
        straight = not _has_slope(self.recipe, z)
        gaussian = isinstance(self.recipe.fit(z), ClippedGaussian)

        def send(z: Features, generator: torch.Generator) -> tuple[Features, Tensor | None]:
            release = self.recipe.fit(z.detach())
            sent = release(z, generator)
            if straight:
                sent = z + (sent - z).detach()
            scale = z.new_tensor(release.sigma) if isinstance(release, ClippedGaussian) else None
            return sent, scale

        return Part(release=TrainedRelease(recipe=self.recipe, send=send, gaussian=gaussian))

    def __str__(self) -> str:
        return str(self.recipe)


def _has_slope(recipe: ReleaseRecipe, z: Features) -> bool:
    z = z.detach().clone().requires_grad_()
    sent = recipe.fit(z.detach())(z, torch.Generator())
    if not sent.requires_grad:
        return False
    (slope,) = torch.autograd.grad(sent.sum(), z)
    return bool(slope.isfinite().all() & slope.any())
