"""Any release of the release room, in place while the network is trained."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from splitveil.defences.base import (
    Calibration,
    Component,
    Fitted,
    Part,
    Setting,
    Statement,
    TrainedRelease,
    least_noise,
)
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.release import (
    Chain,
    ClippedGaussian,
    GaussianPrivacy,
    LaplacePrivacy,
    ReleaseRecipe,
    ShapedGaussian,
)
from splitveil.shapes import Features


@dataclass(frozen=True)
class Released(Component):
    """Trains with a release between the halves, fitted anew to every batch.

    Where what is sent has no slope in z, as behind rounding, gradients pass straight through.
    Scales of the release count as constants; `noise` lets them carry gradient.

    A release with a promise of privacy states it over all its sends together.

    It misleads where a release calibrated on a batch differs from one calibrated on many images:
    use large batches.
    """

    name: ClassVar[str] = "release"
    reference: ClassVar[str] = "straight-through gradients: Bengio et al. 2013"

    recipe: ReleaseRecipe

    def prepare(self, setting: Setting) -> Part:
        z = setting.features(self)
        straight = not _has_slope(self.recipe, z)
        gaussian = isinstance(self.recipe.fit(z), ClippedGaussian | ShapedGaussian)

        def send(z: Features, generator: torch.Generator) -> tuple[Features, Tensor | None]:
            release = self.recipe.fit(z.detach())
            sent = release(z, generator)
            if straight:
                sent = z + (sent - z).detach()
            return sent, least_noise(release, z)

        return Part(release=TrainedRelease(recipe=self.fit, send=send, gaussian=gaussian))

    def fit(self, calibration: Calibration) -> Fitted:
        """The release for the network as it stands, and what it promises."""
        return Fitted(
            release=self.recipe.fit(calibration.z),
            statements=tuple(_promises(str(self), self.recipe)),
        )

    def __str__(self) -> str:
        return str(self.recipe)


def _promises(component: str, recipe: ReleaseRecipe) -> Iterator[Statement]:
    """Local differential privacy, of every stage that promises it."""
    if isinstance(recipe, Chain):
        for stage in recipe.stages:
            yield from _promises(component, stage)
    if not isinstance(recipe, GaussianPrivacy | LaplacePrivacy):
        return
    delta = f", delta {recipe.delta:g}" if isinstance(recipe, GaussianPrivacy) else ""
    times = f"{recipe.sends} sends of one image" if recipe.sends > 1 else "one send of an image"
    yield Statement(
        component=component,
        text=f"over {times}{delta}, any two images are told apart by an epsilon of at most",
        quantity=Quantity.exact(
            recipe.epsilon,
            unit="nats",
            kind=Kind.THEOREM,
            direction=Direction.UPPER,
            assumptions=(
                "the noise is fresh and its law is the stated one",
                "about two images, not about how well one is rebuilt",
            ),
        ),
    )


def _has_slope(recipe: ReleaseRecipe, z: Features) -> bool:
    z = z.detach().clone().requires_grad_()
    sent = recipe.fit(z.detach())(z, torch.Generator())
    if not sent.requires_grad:
        return False
    (slope,) = torch.autograd.grad(sent.sum(), z)
    return bool(slope.isfinite().all() & slope.any())
