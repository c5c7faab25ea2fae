"""What an attack starts from: auxiliary targets, what the device would send for them, labels."""

from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from splitveil.attacks.base import Adversary
from splitveil.attacks.classes import Classes
from splitveil.attacks.memory import piecewise
from splitveil.errors import BadInput, BudgetExceeded, KnowledgeMissing
from splitveil.nets import evaluating
from splitveil.partition.layout import Layout
from splitveil.rng import Rng
from splitveil.shapes import Features
from splitveil.threat import Auxiliary, Observation, Pairs, QueryFree, WhiteBox

_FEWEST = 2
BATCH = 256
"""Images that go through the head together; what it gives depends on it in the last bits."""


@dataclass(frozen=True, eq=False)
class AuxiliaryTargets:
    """Auxiliary targets x (n, d), flattened from `shape`, and the label rows they fall in."""

    x: Tensor
    rows: Tensor
    classes: Classes
    shape: tuple[int, ...]

    def finish(self, flat: Tensor) -> Tensor:
        """Give reconstructions (n, d) the targets' shape; images are clamped to [0, 1]."""
        return in_shape(flat, self.shape)


@dataclass(frozen=True, eq=False)
class Evidence(AuxiliaryTargets):
    """Auxiliary targets with what the device would send for each: z (n, f), float32."""

    z: Tensor
    layout: Layout

    def take(self, indices: Tensor) -> "Evidence":
        """The evidence of some targets only."""
        return replace(self, x=self.x[indices], rows=self.rows[indices], z=self.z[indices])


def in_shape(flat: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Reshape (n, d) to (n, *shape), detached; three axes mean an image, clamped to [0, 1]."""
    x = flat.detach().unflatten(1, shape) if shape else flat.detach().flatten()
    return x.clamp(0, 1) if len(shape) == 3 else x


def grant(attack: Adversary, knowledge: QueryFree) -> None:
    """Refuse knowledge weaker than the attack requires.

    Raises:
        KnowledgeMissing: naming both levels.
    """
    if not isinstance(knowledge, attack.requires):
        raise KnowledgeMissing(
            f"{type(attack).__name__} needs {attack.requires.__name__} knowledge, got "
            f"{type(knowledge).__name__}: grant more or choose a weaker attack"
        )


def targets(attack: Adversary, knowledge: QueryFree) -> AuxiliaryTargets:
    """The auxiliary targets alone, checked.

    Raises:
        KnowledgeMissing: if `knowledge` is weaker than the attack requires.
        BadInput: if there are fewer than two, they are not finite, labels do not fit them, or
            images leave [0, 1].
    """
    grant(attack, knowledge)
    return _checked(knowledge.auxiliary, labelled=knowledge.knows_label)


def gather(
    attack: Adversary,
    knowledge: QueryFree,
    rng: Rng,
    *,
    limit: int | None = None,
    encoded: Features | None = None,
) -> Evidence:
    """Auxiliary targets and what the device would send for them.

    A white-box attacker runs the head itself, through the release if it knows the defence. A
    black-box attacker queries the oracle once an image, for as many as the budget allows; one that
    owns pairs only looks them up. At most
    `limit` images are used, chosen at random. `encoded` is what the head gave for all auxiliary
    targets where that is known already; a white-box attacker then need not run it.

    Raises:
        KnowledgeMissing: if `knowledge` is weaker than the attack requires.
        BudgetExceeded: if the query budget allows fewer than two images.
        BadInput: as `targets`, and if features are not finite or do not fit the layout.
    """
    grant(attack, knowledge)
    if not isinstance(knowledge, Pairs):
        raise KnowledgeMissing(f"{type(knowledge).__name__} grants no features of any image")
    few = affordable(knowledge, limit=limit)
    kept = chosen(knowledge.auxiliary, few, rng)
    found = _checked(part_of(knowledge.auxiliary, kept), labelled=knowledge.knows_label)
    if encoded is None:
        z = transmitted(knowledge, found.x.unflatten(1, found.shape), rng)
    else:
        z = released(knowledge, encoded if kept is None else encoded[kept], rng)
    z = z.detach().float()
    if z.ndim != 2 or z.shape[1] != knowledge.layout.size:
        raise BadInput(
            f"the head gave features of shape {tuple(z.shape)}, the layout says "
            f"(n, {knowledge.layout.size}): split the model again"
        )
    if not all(bool(value.isfinite()) for value in z.aminmax()):  # NaN is passed on
        raise BadInput("features of auxiliary images are not finite: check the model's weights")
    return Evidence(found.x, found.rows, found.classes, found.shape, z, knowledge.layout)


def transmitted(knowledge: Pairs, x: Tensor, rng: Rng) -> Tensor:
    """What the attacker believes the device sends for `x`: shape (n, f)."""
    if not isinstance(knowledge, WhiteBox):
        return knowledge.oracle(x, rng.child("oracle"))
    return released(knowledge, encode(knowledge, x), rng)


def encode(knowledge: WhiteBox, x: Tensor) -> Tensor:
    """What the head gives for `x`, before any release: shape (n, f)."""
    with evaluating(knowledge.head):
        return piecewise(knowledge.head, x, BATCH)


@torch.no_grad()
def released(knowledge: QueryFree, z: Tensor, rng: Rng) -> Tensor:
    """Features `z` through the release, if the attacker holds it and knows of it.

    Raises:
        KnowledgeMissing: if the attacker does not hold the head that gave `z`.
    """
    if not isinstance(knowledge, WhiteBox):
        raise KnowledgeMissing(f"{type(knowledge).__name__} grants no features but the oracle's")
    if not knowledge.knows_defence:
        return z
    return knowledge.release(z, rng.child("release").torch())


def affordable(knowledge: Pairs, *, limit: int | None = None) -> int:
    """How many auxiliary images the attacker can get features for.

    Raises:
        BudgetExceeded: if fewer than two.
    """
    allowed = [len(knowledge.auxiliary.x)]
    if limit is not None:
        allowed.append(limit)
    if not isinstance(knowledge, WhiteBox) and knowledge.oracle.limit is not None:
        left = knowledge.oracle.limit - knowledge.oracle.used
        if left < _FEWEST:
            raise BudgetExceeded(
                f"{left} of {knowledge.oracle.limit} queries are left, at least {_FEWEST} are "
                "needed: raise the query budget"
            )
        allowed.append(left)
    return min(allowed)


def observed(
    observation: Observation, layout: Layout, classes: Classes, device: torch.device
) -> tuple[Tensor, Tensor]:
    """One z a target, shape (n, f), averaged over sends, and label rows, shape (n,).

    The average is the sufficient statistic of repeated sends under additive Gaussian noise; for
    other releases it discards something.

    Raises:
        BadInput: if z does not fit the layout or is not finite, or labels are missing or not one
            number an observation.
    """
    z = observation.z
    if z.ndim != 3 or z.shape[1] < 1 or z.shape[2] != layout.size:
        raise BadInput(
            f"expected observed features of shape (n, sends, {layout.size}), got "
            f"{tuple(z.shape)}: use the partition the attack was fitted to"
        )
    if not torch.isfinite(z).all():
        raise BadInput("observed features are not finite: check the model and its release")
    labels = observation.labels
    if len(classes.seen) and labels is None:
        raise BadInput("this attack was fitted with known labels: give the observation its labels")
    if labels is not None and tuple(labels.shape) != (len(z),):
        raise BadInput(
            f"expected labels of shape ({len(z)},), one an observation, got "
            f"{tuple(labels.shape)}: give one class number for each z"
        )
    rows = classes.rows(None if labels is None else labels.to(device), len(z))
    return z.detach().to(device).float().mean(1), rows


def chosen(auxiliary: Auxiliary, count: int, rng: Rng) -> Tensor | None:
    """Positions of `count` auxiliary targets; None for all."""
    if count >= len(auxiliary.x):
        return None
    order = torch.randperm(len(auxiliary.x), generator=rng.child("subset").torch())
    return order[:count].sort().values.to(auxiliary.x.device)


def part_of(auxiliary: Auxiliary, kept: Tensor | None) -> Auxiliary:
    """The auxiliary targets at some positions; None for all."""
    if kept is None:
        return auxiliary
    y = auxiliary.y
    return replace(auxiliary, x=auxiliary.x[kept], y=None if y is None else y[kept])


def _checked(auxiliary: Auxiliary, *, labelled: bool) -> AuxiliaryTargets:
    x, y = auxiliary.x.detach(), auxiliary.y
    if x.ndim < 2 or len(x) < _FEWEST or prod(x.shape[1:]) == 0:
        raise BadInput(
            f"expected at least {_FEWEST} auxiliary targets of shape (n, ...), got "
            f"{tuple(x.shape)}: give the attacker more data"
        )
    if not torch.isfinite(x).all():
        raise BadInput("auxiliary targets are not finite: remove NaN and infinite values")
    if x.ndim == 4 and not (float(x.min()) >= 0 and float(x.max()) <= 1):
        raise BadInput(
            f"expected auxiliary images in [0, 1], got [{float(x.min()):.3g}, "
            f"{float(x.max()):.3g}]: rescale them"
        )
    if y is not None and y.shape != x.shape[:1]:
        raise BadInput(
            f"expected auxiliary labels of shape ({len(x)},), got {tuple(y.shape)}: give one "
            "class number for each target"
        )
    y = y.to(x.device) if y is not None and labelled else None
    classes = Classes.of(y)
    seen = Classes(classes.seen.to(x.device))
    return AuxiliaryTargets(x.flatten(1).float(), seen.rows(y, len(x)), seen, tuple(x.shape[1:]))
