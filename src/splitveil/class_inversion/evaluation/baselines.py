"""What an attack has to beat: the best of the public images, and what a prior draws anyway."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splitveil.class_inversion.access import Access
from splitveil.class_inversion.priors.base import Prior
from splitveil.errors import BadData
from splitveil.rng import Rng
from splitveil.shapes import Images


@dataclass(frozen=True, eq=False, kw_only=True)
class Baseline:
    """Images that stand for classes without a search: `classes` (n,), `images` (n, m, c, h, w)."""

    name: str
    classes: Int64[Tensor, " n"]
    images: Float[Tensor, "n m c h w"]


def best_public(
    target: Access, public: Images, classes: Sequence[int], *, rng: Rng, count: int = 5
) -> Baseline:
    """For each class the `count` public images that the model is surest are of it.

    One query a public image. With label access: drawn from those it names as the class, from all
    where there are none.

    Raises:
        BadData: if there are fewer public images than `count`.
        BudgetExceeded: if the queries run out.
    """
    if len(public) < count:
        raise BadData(f"{count} public images a class are asked, there are {len(public)}")
    labels = torch.tensor([*classes], dtype=torch.int64)
    if target.level == "label":
        named = target.labels(public).cpu()
        chance = torch.rand(len(public), generator=rng.torch())
        scores = (named[None] == labels[:, None]) + 0.5 * chance
    else:
        scores = target.scores(public).cpu()[:, labels].T
    return Baseline(
        name="best public image", classes=labels, images=public[scores.topk(count).indices].cpu()
    )


def random_draws(prior: Prior, classes: Sequence[int], *, rng: Rng, count: int = 5) -> Baseline:
    """`count` images a class as the prior draws them, of the class where it knows classes."""
    labels = torch.tensor([*classes], dtype=torch.int64)
    place = next(prior.generator.parameters()).device
    z = prior.draw(len(labels) * count, rng.torch()).to(place)
    with torch.no_grad():
        images = prior(z, labels.repeat_interleave(count).to(place)).cpu()
    return Baseline(
        name="random draw", classes=labels, images=images.unflatten(0, (len(labels), count))
    )
