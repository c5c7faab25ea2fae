"""A flow fitted to what is sent: a marginal for features on curved sets."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from splitveil.errors import BadPlan
from splitveil.estimators.marginals import Marginal
from splitveil.nets.coupling import CouplingFlow
from splitveil.nets.modes import evaluating
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Features, Labels
from splitveil.training.loop import Schedule, fit

_BLOCK_VALUES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class FlowTraining:
    """How a flow is trained: `layers` couplings of `width`, `epochs` over two fifths of the images.

    Noise is drawn afresh at every step. It costs seconds to minutes and pays where features lie on
    a curved set and images are many beside their number of values.
    """

    epochs: int = 40
    layers: int = 6
    width: int = 32
    batch: int = 128
    learning_rate: float = 3e-3

    def __post_init__(self) -> None:
        if min(self.epochs, self.layers, self.width, self.batch) < 1 or not self.learning_rate > 0:
            raise BadPlan(f"a flow needs epochs, layers, a width, a batch and a rate: {self}")


@dataclass(frozen=True, eq=False)
class FlowMarginal(Marginal):
    """The density of a trained `CouplingFlow`, in float64; where it overflows it is 0."""

    flow: CouplingFlow

    def log_density(
        self, z: Float64[Tensor, "n f"], labels: Labels | None = None
    ) -> Float64[Tensor, " n"]:
        rows = max(1, _BLOCK_VALUES // z.shape[1])
        with evaluating(self.flow):
            found = torch.cat([self.flow(block) for block in z.split(rows)])
        return torch.where(torch.isfinite(found), found, -torch.inf)

    def __str__(self) -> str:
        return f"flow of {len(self.flow.layers)} couplings"


def fit_flow(
    features: Features, release: Release, floor: float, training: FlowTraining, rng: Rng
) -> FlowMarginal:
    """Train on what `release` sends of these features, which no other part may share.

    Raises:
        BadPlan: if there are fewer than 2 features, or training diverges.
    """
    features = features.detach().cpu()
    sent = release(features, rng.child("scale").torch())
    scale = sent.var(0, correction=0).clamp_min(floor).sqrt()
    with rng.child("weights").as_global():
        flow = CouplingFlow(
            sent.mean(0).float(), scale.float(), layers=training.layers, width=training.width
        )

    def loss(net: torch.nn.Module, index: Tensor, noise: torch.Generator) -> Tensor:
        return -net(release(features[index], noise).float()).mean()

    fit(
        flow,
        loss,
        size=len(features),
        schedule=Schedule(
            epochs=training.epochs, batch=training.batch, learning_rate=training.learning_rate
        ),
        rng=rng.child("training"),
    )
    return FlowMarginal(flow.double())
