"""What honest networks score: the tolerance a guard grants."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from statistics import NormalDist

import torch
from jaxtyping import Float64
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.vetting.guard import GuardNull
from splitveil.vetting.online_probe import FIRST, PROBES, OnlineProbe, Outputs, pairs

_LEAST_AFTER = 100


@dataclass(frozen=True, eq=False)
class Ceiling:
    """What probes score on the images of one network, at the stage of learning where it is most.

    `mean` (probes,) is that of probes that have learnt all they may; `upper` the largest upper end
    over the stages: after 8 to 31 images, to 127, to 511, ..., and after the last.
    """

    mean: Float64[Tensor, " probes"]
    upper: Float64[Tensor, " probes"]


@torch.no_grad()
def ceiling(
    x: Targets,
    outputs: Outputs,
    rng: Rng,
    *,
    released: str = "logits",
    learns: int | None = None,
    orders: int = 16,
    level: float = 0.99,
) -> Ceiling:
    """Mean scores of one network at each stage of the probes' learning.

    The upper end is mean + z sd / sqrt(count), one-sided, over the images scored in the stage in
    all orders, or as many as there are images if these are fewer.

    Args:
        x: images, exchangeable with those that a guard will see.
        outputs: what the network releases for them.
        rng: stream of the orders.
        released: what they are.
        learns: images to learn from, half of them by default; the rest are scored only.
        orders: random orders to average over.
        level: of each upper end, normal approximation.

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
    shuffled = (
        torch.randperm(len(x), generator=rng.child("order", order).torch())
        for order in range(orders)
    )
    scores = torch.stack([OnlineProbe(taught).scores(seen.at(places)) for places in shuffled])
    means, ends = [], []
    for start, stop in _stages(taught, len(x)):
        found = scores[:, :, start:stop].transpose(0, 1).flatten(1)
        count = min(found.shape[1], len(x))
        means.append(found.mean(1))
        ends.append(means[-1] + NormalDist().inv_cdf(level) * found.std(1) / math.sqrt(count))
    return Ceiling(means[-1], torch.stack(ends).amax(0))


def _stages(learns: int, images: int) -> list[tuple[int, int]]:
    edges = [FIRST]
    while 4 * edges[-1] <= learns:
        edges.append(4 * edges[-1])
    return [*pairwise(sorted({*edges, learns})), (learns, images)]


def guard_null(
    x: Targets,
    outputs: Sequence[Outputs],
    rng: Rng,
    *,
    released: str = "logits",
    learns: int | None = None,
    orders: int = 16,
    source: str = "own honest networks",
    cut: str = "",
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
        >>> null = guard_null(x, honest, Rng(0), orders=4)
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
            ceiling(
                x,
                out,
                rng.child("network", i),
                released=released,
                learns=taught,
                orders=orders,
            ).upper
            for i, out in enumerate(outputs)
        ]
    )
    largest = dict(zip(PROBES, ends.amax(0).tolist(), strict=True))
    return GuardNull(
        **largest, released=released, models=len(outputs), learns=taught, source=source, cut=cut
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
