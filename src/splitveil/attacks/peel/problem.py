"""A stage with its observed outputs: find the input that gives them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx

from splitveil.attacks.peel.blocks import Stage
from splitveil.attacks.peel.conjugate_gradients import squares
from splitveil.attacks.peel.graph import HeadGraph
from splitveil.attacks.peel.linear import Linearised, evaluate, linearise
from splitveil.attacks.peel.rows import Known, Rows, read_end
from splitveil.attacks.peel.total_variation import VariationRows, variation_rows
from splitveil.shapes import PerImage


@dataclass(frozen=True, eq=False)
class Linear:
    """Residual rows of a problem at one x, with J v and J^T u."""

    values: tuple[Tensor, ...]
    _inner: Linearised
    _rows: tuple[Rows, ...]
    _prior: VariationRows | None

    def push(self, v: Tensor) -> tuple[Tensor, ...]:
        """J v."""
        moved = self._inner.push(v)
        out = [row for rows, m in zip(self._rows, moved, strict=True) for row in rows.push(m)]
        if self._prior is not None:
            out += self._prior.push(v)
        return tuple(out)

    def pull(self, u: Sequence[Tensor]) -> Tensor:
        """J^T u."""
        owed, at = [], 0
        for rows in self._rows:
            count = len(rows.values)
            owed.append(rows.pull(u[at : at + count]))
            at += count
        out = self._inner.pull(owed)
        return out if self._prior is None else out + self._prior.pull(u[at:])


@dataclass(frozen=True, eq=False)
class Problem:
    """Find x with stage(x) = y for a batch of images, `low` <= x <= `high`.

    `known` holds, for each end of the stage, what y says; `scale` is |y| per image; `gain`
    multiplies a block's branch; `variation` weighs the total variation of x beside the squared
    residual (x must be images then), in units of |y|^2 over the count of unknowns.
    """

    head: HeadGraph
    stage: Stage
    known: tuple[Known, ...]
    scale: Tensor
    low: float = -math.inf
    high: float = math.inf
    gain: float = 1.0
    variation: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """The unknown's shape, without the batch axis."""
        return self.head.shapes[self.stage.source]

    @property
    def equations(self) -> PerImage:
        """Rows that must be 0, as against one-sided ones, per image."""
        counts = [
            k.goal[0].numel() * torch.ones_like(self.scale)
            if k.exact is None
            else k.exact.flatten(1).sum(1).to(self.scale.dtype)
            for k in self.known
        ]
        return torch.stack(counts).sum(0)

    def take(self, index: Tensor) -> "Problem":
        """The problem of some images only."""
        known = tuple(k.take(index) for k in self.known)
        return replace(self, known=known, scale=self.scale[index])

    def residual(self, x: Tensor) -> tuple[Tensor, ...]:
        """Rows at x, in x's precision: those of the stage, then those of the prior."""
        found = evaluate(
            self.head,
            self.stage.steps,
            self.stage.source,
            self._targets,
            x,
            scaled=self.stage.branch,
            gain=self.gain,
        )
        rows = [r for k, t in zip(self.known, found, strict=True) for r in k.rows(t).values]
        if self.variation:
            rows += variation_rows(x, self._weight(x)).values
        return tuple(rows)

    def linearise(self, x: Tensor) -> Linear:
        """Rows and their Jacobian at x."""
        inner = linearise(
            self.head,
            self.stage.steps,
            self.stage.source,
            self._targets,
            x,
            scaled=self.stage.branch,
            gain=self.gain,
        )
        rows = tuple(k.rows(t) for k, t in zip(self.known, inner.values, strict=True))
        prior = variation_rows(x, self._weight(x)) if self.variation else None
        values = [value for r in rows for value in r.values]
        if prior is not None:
            values += prior.values
        return Linear(tuple(values), inner, rows, prior)

    def misfit(self, x: Tensor) -> PerImage:
        """|residual| / |y| per image without any prior, in float64: the attacker sees it too."""
        rows = replace(self, variation=0.0).residual(x.double())
        return (squares(rows).sqrt() / self.scale).nan_to_num(nan=math.inf)

    def clamp(self, x: Tensor) -> Tensor:
        """The nearest x within the limits."""
        if self.low == -math.inf and self.high == math.inf:
            return x
        return x.clamp(self.low, self.high)

    def _weight(self, x: Tensor) -> PerImage:
        return (self.variation * self.scale.square() / self.stage.unknowns).to(x.dtype)

    @property
    def _targets(self) -> tuple[fx.Node, ...]:
        return tuple(end.before for end in self.stage.ends)


def laid_out(x: Tensor) -> Tensor:
    """A copy, maps in the order that convolutions are fastest in."""
    return x.clone(memory_format=torch.channels_last) if x.dim() == 4 else x.clone()


def pose(
    head: HeadGraph,
    stage: Stage,
    observed: Sequence[Tensor],
    *,
    low: float = -math.inf,
    high: float = math.inf,
) -> Problem:
    """The problem of a stage from the value of each of its ends."""
    targets = [laid_out(y.detach().double()) for y in observed]
    known = tuple(read_end(head, e, y) for e, y in zip(stage.ends, targets, strict=True))
    scale = squares(targets).sqrt().clamp(min=1e-30)
    return Problem(head, stage, known, scale, low, high)
