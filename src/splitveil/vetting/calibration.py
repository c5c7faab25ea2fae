"""What honest networks score: the tolerance a guard grants."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import torch
from jaxtyping import Float64
from scipy.special import ndtri
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.measures.checks import OtherFeatures
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.vetting.guard import GuardNull
from splitveil.vetting.online_probe import FIRST, PROBES, OnlineProbe, pairs

_LEAST_AFTER = 100


@dataclass(frozen=True, eq=False)
class Ceiling:
    """What probes that have learnt all they may score on further images of one network.

    `mean` (probes,) is the average over orders, `upper` its upper end at the calibration's level.
    """

    mean: Float64[Tensor, " probes"]
    upper: Float64[Tensor, " probes"]


@torch.no_grad()
def ceiling(
    x: Targets,
    outputs: OtherFeatures,
    rng: Rng,
    *,
    released: str = "logits",
    learns: int | None = None,
    orders: int = 4,
    level: float = 0.99,
) -> Ceiling:
    """Mean scores of one network once the probes have learnt from `learns` images.

    Args:
        x: images, exchangeable with those that a guard will see.
        outputs: what the network releases for them.
        rng: stream of the orders.
        released: what they are.
        learns: images to learn from, half of them by default; the rest are scored.
        orders: random orders to average over.
        level: of the one-sided normal interval over scored images, held once, not per order.

    Raises:
        BadData: if fewer than 100 images are left to score, or as `Guard.update`.
        BadPlan: if there is no order, the level is not inside (0.5, 1), or learns is below 8.
    """
    if orders < 1 or not 0.5 < level < 1:
        raise BadPlan(f"an order and a level inside (0.5, 1) are needed, got {orders} and {level}")
    taught = len(x) // 2 if learns is None else learns
    left = len(x) - taught
    if left < _LEAST_AFTER:
        raise BadData(
            f"{len(x)} images leave {left} to score after {taught} to learn from: give "
            f"{taught + _LEAST_AFTER} or more"
        )
    if taught < FIRST:
        raise BadPlan(f"probes learn from {FIRST} images or more, got {taught}")
    seen = pairs(x, outputs, released)
    means, spreads = [], []
    for order in range(orders):
        shuffled = torch.randperm(len(x), generator=rng.child("order", order).torch())
        scores = OnlineProbe(taught).scores(seen.at(shuffled))[:, taught:]
        means.append(scores.mean(1))
        spreads.append(scores.std(1))
    mean = torch.stack(means).mean(0)
    slack = float(ndtri(level)) * torch.stack(spreads).mean(0) / math.sqrt(left)
    return Ceiling(mean, mean + slack)


def guard_null(
    x: Targets,
    outputs: Sequence[OtherFeatures],
    rng: Rng,
    *,
    released: str = "logits",
    learns: int | None = None,
    source: str = "own honest networks",
) -> GuardNull:
    """The tolerances of a guard from honest networks' outputs on the same images.

    Each is the largest upper end of `ceiling` over the networks. A further honest network, trained
    the same way by somebody else, lies beyond the largest of n with a chance of at most 1/(n + 1).

    Example:
        >>> import torch
        >>> from splitveil.rng import Rng
        >>> g = Rng(0).torch()
        >>> x = torch.rand(400, 1, 8, 8, generator=g)
        >>> honest = [torch.randn(400, 3, generator=g) for _ in range(4)]
        >>> null = guard_null(x, honest, Rng(0))
        >>> null.models, null.learns, null.linear < 0.2
        (4, 200, True)

    Raises:
        BadData: as `ceiling`.
        BadPlan: if there is no network, or one releases nearly the image itself.
    """
    if not outputs:
        raise BadPlan("tolerances need the outputs of one honest network or more")
    taught = len(x) // 2 if learns is None else learns
    ends = torch.stack(
        [
            ceiling(x, out, rng.child("network", i), released=released, learns=taught).upper
            for i, out in enumerate(outputs)
        ]
    )
    largest = dict(zip(PROBES, ends.amax(0).tolist(), strict=True))
    return GuardNull(
        **largest, released=released, models=len(outputs), learns=taught, source=source
    )


def bundled_null(released: str = "logits") -> GuardNull:
    """The tolerance measured on Fashion-MNIST, padded to 32x32, by 39 honest networks.

    Small networks of the form of `splitveil.vetting.small_nets.plain`, trained with drawn settings;
    for other images measure your own with `guard_null`.

    Raises:
        BadPlan: if there is none for such releases.
    """
    text = files("splitveil.vetting").joinpath("guard_nulls.json").read_text(encoding="utf-8")
    known = {null.released: null for null in map(GuardNull.from_json, json.loads(text))}
    if released not in known:
        raise BadPlan(
            f"no tolerance for '{released}' is bundled, only for {' and '.join(known)}: measure "
            "your own honest networks"
        )
    return known[released]
