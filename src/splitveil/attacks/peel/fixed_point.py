"""Anderson-accelerated fixed point for blocks whose skip is the identity: no derivatives needed.

For y = x + B(x) the map x -> x - r(x), r(x) = x + B(x) - u with u the known value of the sum, has
the solution as its fixed point; it contracts where B's slope is below 1, and mixing the last few
residuals reaches beyond that. Each iteration costs one evaluation of the block. Source: Anderson
1965; Walker and Ni 2011.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from splitveil.attacks.peel.problem import Problem, laid_out

_MEMORY = 6
_PATIENCE = 10


@dataclass(eq=False)
class _History:
    """Images still moving: where they are, how their residuals fell, steps and falls together."""

    problem: Problem
    index: Tensor
    flat: Tensor
    falls: Tensor
    shifts: Tensor
    gram: Tensor
    first: Tensor
    before: Tensor | None = None
    residual: Tensor | None = None

    def keep(self, mask: Tensor) -> None:
        """Let the other images go."""
        kept = mask.nonzero().flatten()
        self.problem = self.problem.take(kept)
        for name in ("index", "flat", "falls", "shifts", "gram", "first", "before", "residual"):
            value = getattr(self, name)
            if value is not None:
                setattr(self, name, value[kept])

    def advance(self, residual: Tensor, slot: int) -> None:
        """Move every image by its mixed residual."""
        move = residual
        if self.before is not None and self.residual is not None:
            fall = residual - self.residual
            self.falls[:, slot] = fall
            self.shifts[:, slot] = self.flat - self.before + fall
            both = torch.stack([fall, residual], 1)
            inner = torch.bmm(self.falls, both.transpose(1, 2)).double()
            self.gram[:, slot, :], self.gram[:, :, slot] = inner[..., 0], inner[..., 0]
            weights = _weights(self.gram, inner[..., 1]).float()[:, None]
            move = residual - torch.bmm(weights, self.shifts)[:, 0]
        self.before, self.residual = self.flat, residual
        self.flat = self.flat + move


@torch.no_grad()
def mix(problem: Problem, start: Tensor, *, iterations: int, tolerance: float) -> Tensor:
    """The best x by |r| met from `start`, in float32; an image that reaches `tolerance` stays.

    The problem must have one row a value of x, as an identity block without a ReLU after its sum
    has. An image that has not halved its residual within 10 iterations is given up.
    """
    x = laid_out(start.float())
    best = _flat(x).clone()
    n, size = best.shape
    least = torch.full((n,), torch.inf, device=x.device)
    gram = torch.zeros(n, _MEMORY, _MEMORY, dtype=torch.float64, device=x.device)
    room = best.new_zeros(n, _MEMORY, size)
    index = torch.arange(n, device=x.device)
    known = tuple(replace(one, goal=one.goal.float()) for one in problem.known)
    problem = replace(problem, known=known)
    state = _History(problem, index, best.clone(), room, room.clone(), gram, least)
    for round_ in range(iterations):
        if not len(state.index):
            break
        residual = -_flat(state.problem.residual(_shaped(state.flat, x))[0])
        norm = residual.norm(dim=1).nan_to_num(nan=torch.inf)
        better = norm < least[state.index]
        won = state.index[better]
        best[won], least[won] = state.flat[better], norm[better]
        if round_ == 0:
            state.first = norm
        hopeless = torch.isinf(norm) | (norm > 1e3 * state.first)
        if round_ >= _PATIENCE:
            hopeless |= least[state.index] > 0.5 * state.first
        state.advance(residual, (round_ - 1) % _MEMORY)
        moving = (norm > tolerance * state.problem.scale.float()) & ~hopeless
        if not bool(moving.all()):
            state.keep(moving)
    return _shaped(best, x)


def _weights(gram: Tensor, right: Tensor) -> Tensor:
    """Coefficients of the past falls that cancel the residual best, slightly damped."""
    size = gram.diagonal(dim1=1, dim2=2)
    used = size > 0
    ridge = torch.where(used, 1e-10 * size.amax(1, keepdim=True), 1.0)
    found = torch.linalg.solve_ex(gram + torch.diag_embed(ridge), right[..., None])[0][..., 0]
    return (found * used).nan_to_num()


def _flat(x: Tensor) -> Tensor:
    """One row an image, in the order memory has for channels-last maps."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1) if x.dim() == 4 else x.reshape(len(x), -1)


def _shaped(flat: Tensor, like: Tensor) -> Tensor:
    if like.dim() != 4:
        return flat.reshape(len(flat), *like.shape[1:])
    _, c, h, w = like.shape
    return flat.reshape(len(flat), h, w, c).permute(0, 3, 1, 2)
