"""Evidence that arrives in batches, for attacks that need sums over it only."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from splitveil.attacks.base import Attack
from splitveil.attacks.classes import Classes
from splitveil.attacks.evidence import affordable, targets, transmitted
from splitveil.errors import BadInput, KnowledgeMissing
from splitveil.partition.layout import Layout
from splitveil.rng import Rng
from splitveil.threat import Pairs, QueryFree

_BATCH = 1024


@dataclass(frozen=True, eq=False)
class Stream:
    """Batches of features (b, f), targets (b, d) and label rows (b,), to be read once."""

    batches: Iterator[tuple[Tensor, Tensor, Tensor]]
    classes: Classes
    layout: Layout
    shape: tuple[int, ...]


def streamed(attack: Attack, knowledge: QueryFree, rng: Rng) -> Stream:
    """As `gather`, batch by batch; a random release draws anew for each batch.

    Raises:
        KnowledgeMissing: if `knowledge` is weaker than the attack requires.
        BudgetExceeded: if the query budget allows fewer than two images.
        BadInput: as `gather`.
    """
    found = targets(attack, knowledge)
    if not isinstance(knowledge, Pairs):
        raise KnowledgeMissing(f"{type(knowledge).__name__} grants no features of any image")
    count, size = affordable(knowledge), knowledge.layout.size
    order = torch.arange(len(found.x))
    if count < len(order):
        order = torch.randperm(len(order), generator=rng.child("subset").torch())[:count]

    def batches() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for index, part in enumerate(order.to(found.x.device).split(_BATCH)):
            x = found.x[part]
            shaped = x.unflatten(1, found.shape)
            z = transmitted(knowledge, shaped, rng.child("batch", index)).detach().float()
            if z.ndim != 2 or z.shape[1] != size or not torch.isfinite(z).all():
                raise BadInput(
                    f"expected finite features of shape (n, {size}), got {tuple(z.shape)}: "
                    "check the model's weights, or split it again"
                )
            yield z, x, found.rows[part]

    return Stream(batches(), found.classes, knowledge.layout, found.shape)
