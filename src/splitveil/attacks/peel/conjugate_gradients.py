"""Damped linear least squares for a batch of images, each with its own scalars and its own end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from splitveil.shapes import PerImage


@runtime_checkable
class Operator(Protocol):
    """A linear map, block-diagonal over images, and its transpose."""

    def push(self, v: Tensor) -> tuple[Tensor, ...]:
        """J v: one tensor a group of rows."""
        ...

    def pull(self, u: Sequence[Tensor]) -> Tensor:
        """J^T u."""
        ...


@dataclass(frozen=True, eq=False)
class Step:
    """The solution d, the iterations each image took, and by how much d lowers |J d + r|^2."""

    d: Tensor
    iterations: Tensor
    promised: Tensor


def squares(rows: Sequence[Tensor]) -> PerImage:
    """Sum of squares per image over all rows."""
    return sum((row * row).flatten(1).sum(1) for row in rows[1:]) + _square(rows[0])


def _square(row: Tensor) -> Tensor:
    return (row * row).sum(tuple(range(1, row.dim())))


def spread(scalars: PerImage, like: Tensor) -> Tensor:
    """One scalar an image, shaped to multiply a tensor of its values."""
    return scalars.view(-1, *(1,) * (like.dim() - 1))


@torch.no_grad()
def least_squares(
    operator: Operator,
    rows: Sequence[Tensor],
    damping: PerImage,
    *,
    iterations: int,
    tolerance: PerImage,
    free: Tensor | None = None,
) -> Step:
    """The d that minimises |J d + r|^2 + damping |d|^2, image by image, by conjugate gradients.

    Runs on the normal equations without forming them (Hestenes and Stiefel's form for least
    squares), so rounding grows with the condition number and not with its square as in
    (J^T J + damping) d = -J^T r. An image whose gradient has fallen below `tolerance` times its
    start takes no further step; the loop ends when none moves.

    Args:
        operator: J.
        rows: r, one tensor a group of rows, n images each.
        damping: at least 0, one an image.
        iterations: most iterations; 2 products each.
        tolerance: relative, one an image.
        free: where d may differ from 0, shaped like d.
    """
    s = [-row for row in rows]
    before = squares(s)
    g = operator.pull(s)
    if free is not None:
        g = g * free
    p, d = g.clone(), torch.zeros_like(g)
    gamma = _square(g)
    goal = tolerance.square() * gamma
    moving = (gamma > goal) & torch.isfinite(gamma)
    used = torch.zeros_like(gamma, dtype=torch.int64)
    for _ in range(iterations):
        if not bool(moving.any()):
            break
        q = operator.push(p)
        bend = squares(q) + damping * _square(p)
        moving = moving & (bend > 0)
        alpha = torch.where(moving, gamma / bend.clamp(min=1e-38), 0.0)
        d = torch.addcmul(d, spread(alpha, p), p)
        s = [torch.addcmul(a, spread(-alpha, a), b) for a, b in zip(s, q, strict=True)]
        g = operator.pull(s)
        g = torch.addcmul(g, spread(-damping, d), d)
        if free is not None:
            g = g * free
        after = _square(g)
        used += moving
        p = torch.addcmul(g, spread(after / gamma.clamp(min=1e-38), p), p)
        gamma = torch.where(moving, after, gamma)
        moving = moving & (gamma > goal) & torch.isfinite(gamma)
    return Step(d, used, before - squares(s))
