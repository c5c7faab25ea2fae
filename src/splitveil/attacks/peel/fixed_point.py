"""Anderson-accelerated fixed point for blocks whose skip is the identity: no derivatives needed.

For y = x + B(x) the map x -> x - r(x), r(x) = x + B(x) - u with u the known value of the sum, has
the solution as its fixed point; it contracts where B's slope is below 1, and mixing the last few
residuals reaches beyond that. Each iteration costs one evaluation of the block. Source: Anderson
1965; Walker and Ni 2011.
"""

import torch
from torch import Tensor

from splitveil.attacks.peel.problem import Problem

_MEMORY = 6
_PATIENCE = 10


@torch.no_grad()
def mix(problem: Problem, start: Tensor, *, iterations: int, tolerance: float) -> Tensor:
    """The best x by |r| met from `start`, in float32; an image that reaches `tolerance` stays.

    The problem must have one row a value of x, as an identity block without a ReLU after its sum
    has. An image that has not halved its residual within 10 iterations is given up.
    """
    x = start.float()
    x = x.clone(memory_format=torch.channels_last) if x.dim() == 4 else x.clone()
    flat = _flat(x)
    n, size = flat.shape
    best, least = flat.clone(), torch.full((n,), torch.inf, device=x.device)
    steps = flat.new_zeros(_MEMORY, n, size)
    falls = flat.new_zeros(_MEMORY, n, size)
    gram = torch.zeros(n, _MEMORY, _MEMORY, dtype=torch.float64, device=x.device)
    goal = tolerance * problem.scale.float()
    moving = torch.ones(n, dtype=torch.bool, device=x.device)
    first = before = residual_before = None
    for index in range(iterations):
        residual = -_flat(problem.residual(_shaped(flat, x))[0])
        norm = residual.norm(dim=1).nan_to_num(nan=torch.inf)
        better = moving & (norm < least)
        best = torch.where(better[:, None], flat, best)
        least = torch.where(better, norm, least)
        first = norm if first is None else first
        hopeless = torch.isinf(norm) | (norm > 1e3 * first)
        if index >= _PATIENCE:
            hopeless |= least > 0.5 * first
        moving = moving & (norm > goal) & ~hopeless
        if not bool(moving.any()):
            break
        move = residual
        if before is not None and residual_before is not None:
            slot = (index - 1) % _MEMORY
            steps[slot], falls[slot] = flat - before, residual - residual_before
            inner = torch.einsum("mns,ns->nm", falls, falls[slot]).double()
            gram[:, slot, :], gram[:, :, slot] = inner, inner
            weights = _weights(gram, torch.einsum("mns,ns->nm", falls, residual).double())
            move = residual - torch.einsum("mns,nm->ns", steps + falls, weights.float())
        before, residual_before = flat, residual
        flat = torch.where(moving[:, None], flat + move, flat)
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
        return flat.reshape(like.shape)
    n, c, h, w = like.shape
    return flat.reshape(n, h, w, c).permute(0, 3, 1, 2)
