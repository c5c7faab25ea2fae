"""What an observed value says of the value before the last activation: residual rows.

For observed y and current t, with u+ = max(u, 0):

    no activation             t - y
    slope a > 0 below zero    t - u, u the exact inverse of y, entry by entry
    ReLU                      t - y where y > tau,  (t - y+)+ elsewhere (the entry is at most that)
    ReLU, then max-pool       max over window - y where y > tau, and for each entry (t - l)+ with l
                              the least pooled y+ among the windows it lies in

All rows are 0 at the truth. tau = 1e-3 times the standard deviation of y: after an inexact step,
entries that should be 0 carry rounding, and taking them for equations ruins the solution.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from splitveil.attacks.peel.blocks import End
from splitveil.attacks.peel.graph import HeadGraph
from splitveil.partition.functional import operation

_TAU = 1e-3


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of one value t: `exact` where t must equal `goal`; elsewhere t is at most it.

    Without `exact` every entry is exact. With a `pool` the goal is of the pooled values, and
    `limit` is the upper limit of t itself.
    """

    goal: Tensor
    exact: Tensor | None = None
    limit: Tensor | None = None
    pool: nn.MaxPool2d | None = None

    def take(self, index: Tensor) -> "Known":
        """Some images only."""
        return Known(
            self.goal[index],
            None if self.exact is None else self.exact[index],
            None if self.limit is None else self.limit[index],
            self.pool,
        )

    def rows(self, t: Tensor) -> "Rows":
        """Residual rows at t and how they change with it."""
        goal = self.goal.to(t.dtype)
        if self.exact is None:
            return Rows((t - goal,), (None,), None, t.shape)
        if self.pool is None or self.limit is None:
            gap = t - goal
            slope = self.exact | (gap > 0)
            return Rows((gap * slope,), (slope.to(t.dtype),), None, t.shape)
        pooled, where = _pooled(self.pool, t)
        above = t - self.limit.to(t.dtype)
        over = above > 0
        return Rows(
            ((pooled - goal) * self.exact, torch.where(over, above, 0.0)),
            (self.exact.to(t.dtype), over.to(t.dtype)),
            where,
            t.shape,
        )


@dataclass(frozen=True, eq=False)
class Rows:
    """Residual rows as a function of t at one t: values, slopes (None for 1), pooled positions."""

    values: tuple[Tensor, ...]
    slopes: tuple[Tensor | None, ...]
    where: Tensor | None
    shape: torch.Size

    def push(self, v: Tensor) -> tuple[Tensor, ...]:
        """Change of the rows when t changes by v."""
        first = v
        if self.where is not None:
            first = v.flatten(2).gather(2, self.where.flatten(2)).reshape(self.where.shape)
        moved = (first,) if len(self.slopes) == 1 else (first, v)
        return tuple(
            m if slope is None else m * slope for m, slope in zip(moved, self.slopes, strict=True)
        )

    def pull(self, u: Sequence[Tensor]) -> Tensor:
        """The transpose of `push`."""
        owed = [a if slope is None else a * slope for a, slope in zip(u, self.slopes, strict=True)]
        if self.where is None:
            return owed[0]
        out = owed[0].new_zeros(self.shape).flatten(2)
        out = out.scatter_add(2, self.where.flatten(2), owed[0].flatten(2)).reshape(self.shape)
        return out + owed[1]


def read_end(head: HeadGraph, end: End, y: Tensor) -> Known:
    """What a value y (n, ...) of that end says of the value before its activation and pool."""
    if end.post is None:
        return Known(y)
    slope = _slope(head, end.post, y)
    if slope is not None:
        return Known(torch.where(y > 0, y, y / slope))
    tau = _TAU * y.flatten(1).std(1).view(-1, *(1,) * (y.dim() - 1))
    exact, goal = y > tau, y.clamp(min=0)
    if end.pool is None:
        return Known(goal, exact)
    pool = head.double.get_submodule(str(end.pool.target))
    if not isinstance(pool, nn.MaxPool2d):
        raise TypeError("a pool node that is no max-pool")
    return Known(goal, exact, _limits(pool, goal, head.shapes[end.before]), pool)


def _slope(head: HeadGraph, node: fx.Node, y: Tensor) -> Tensor | None:
    """The slope below zero, shaped to divide y; None for a ReLU."""
    if node.op != "call_module" or operation(node) == "relu":
        return None
    part = head.double.get_submodule(str(node.target))
    if isinstance(part, nn.PReLU):
        return part.weight.to(y.dtype).view((1, -1) + (1,) * (y.dim() - 2))
    if isinstance(part, nn.LeakyReLU):
        return torch.as_tensor(part.negative_slope, dtype=y.dtype, device=y.device)
    return None


def _pooled(pool: nn.MaxPool2d, t: Tensor) -> tuple[Tensor, Tensor]:
    value, where = F.max_pool2d(
        t, pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode, True
    )
    return value, where


def _limits(pool: nn.MaxPool2d, goal: Tensor, shape: tuple[int, ...]) -> Tensor:
    """For each entry the least goal among the windows it lies in; infinite outside all windows.

    Windows are found from the gradient of sums: entry i lies in window w iff the pool of a map that
    is 1 at i alone is 1 at w; done for all entries at once by listing each window's places.
    """
    height, width = shape[-2:]
    pair = [(v, v) if isinstance(v, int) else tuple(v) for v in _window(pool)]
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = pair
    rows, columns = goal.shape[-2:]
    device = goal.device
    i = torch.arange(rows, device=device) * sh - ph
    j = torch.arange(columns, device=device) * sw - pw
    i = i[:, None] + torch.arange(kh, device=device) * dh
    j = j[:, None] + torch.arange(kw, device=device) * dw
    place = i[:, None, :, None] * width + j[None, :, None, :]
    inside = ((i >= 0) & (i < height))[:, None, :, None] & ((j >= 0) & (j < width))[None, :, None]
    window = torch.arange(rows * columns, device=device).view(rows, columns, 1, 1)
    window = window.expand_as(place)[inside]
    flat = goal.flatten(2)[..., window]
    out = flat.new_full((*goal.shape[:2], height * width), float("inf"))
    out = out.scatter_reduce(2, place[inside].expand_as(flat), flat, "amin")
    return out.reshape(*goal.shape[:2], height, width)


def _window(pool: nn.MaxPool2d) -> tuple[int | tuple[int, ...], ...]:
    stride = pool.kernel_size if pool.stride is None else pool.stride
    return pool.kernel_size, stride, pool.padding, pool.dilation
