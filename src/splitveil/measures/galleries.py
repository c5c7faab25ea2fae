"""What every bound from galleries needs: scores of what is sent, and intervals over galleries."""

import math

import torch
from jaxtyping import Float64
from scipy import stats
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Features, Labels

NO_GUARANTEE = (
    "no information-theoretic guarantee: the release adds no noise of known law, so a strong "
    "enough attacker may rebuild every image"
)
_LEAST_GALLERIES = 20


def no_bound(unit: str, n: int) -> Quantity:
    """What a lower bound on an error is without noise of known law: the theorem 0, in words."""
    return Quantity.exact(
        0.0,
        unit=unit,
        kind=Kind.THEOREM,
        n=n,
        direction=Direction.LOWER,
        assumptions=(NO_GUARANTEE,),
    )


def check_galleries(galleries: int, draws: int, sends: int, level: float) -> None:
    """Refuse settings that give no interval.

    Raises:
        BadPlan: naming them.
    """
    if galleries < _LEAST_GALLERIES or draws < 1 or sends < 1 or not 0 < level < 1:
        raise BadPlan(
            f"the bound needs at least {_LEAST_GALLERIES} galleries, 1 draw, 1 send and a level in "
            f"(0, 1), got {galleries}, {draws}, {sends} and {level}"
        )


def check_paired(x: Tensor, features: Tensor, labels: Labels | None) -> None:
    """Refuse counts that differ.

    Raises:
        BadData: naming them.
    """
    if len(x) != len(features) or (labels is not None and len(labels) != len(x)):
        raise BadData(f"{len(x)} images, {len(features)} features: give one of each, with labels")


def sent_copies(
    release: Release, features: Features, rng: Rng, draws: int, sends: int
) -> list[Tensor]:
    """For each send, what crosses for every draw of every hidden item, draws outermost."""
    return [
        torch.cat([release(features, rng.child(draw, send).torch()) for draw in range(draws)])
        for send in range(sends)
    ]


def gallery_scores(
    release: Release, sent: list[Tensor], features: Features
) -> Float64[Tensor, "q n"]:
    """The release's pairwise log densities, summed over sends.

    Raises:
        BadPlan: if it has none.
    """
    total = torch.zeros(len(sent[0]), len(features), dtype=torch.float64)
    for one in sent:
        scores = release.pairwise_log_prob(one, features)
        if scores is None:
            raise BadPlan(f"{release!r} says it has a density but gives none")
        total += scores.double()
    return total


def one_sided(means: Float64[Tensor, " r"], level: float, direction: Direction) -> float:
    """The one-sided end of a t interval over galleries."""
    reach = float(stats.t.ppf(level, len(means) - 1) * means.std()) / math.sqrt(len(means))
    return float(means.mean()) + (reach if direction is Direction.UPPER else -reach)
