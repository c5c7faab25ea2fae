"""How much noise on the outputs is amplified in the input, from the Jacobian at the solution."""

import torch
from torch import Tensor

from splitveil.attacks.peel.conjugate_gradients import Operator
from splitveil.attacks.peel.problem import Problem
from splitveil.rng import Rng

_STEPS, _SOLVES = 30, 200


@torch.no_grad()
def sensitivity(problem: Problem, x: Tensor) -> tuple[tuple[float, float], float]:
    """Least and greatest singular value of J at x, and tr((J^T J)^-1) / n.

    Noise of variance s^2 on every output moves the least-squares input by a mean squared error of
    s^2 tr((J^T J)^-1) / n per value, as long as no activation changes sides. Singular values are
    Lanczos' on J^T J with one start, over the images given (extremes over all of them): the
    greatest is a lower and the least an upper estimate. The trace is Hutchinson's with one probe
    an image.
    """
    linear = problem.linearise(x.float())
    low, high = extremes(linear, x.float())
    probe = torch.randn(x.shape[1:], generator=Rng(0, ("trace",)).torch()).to(x.device)
    v = probe.sign().expand(x.shape).contiguous()
    return (low, high), float(_inverse_trace(linear, v))


def _inverse_trace(linear: Operator, v: Tensor) -> Tensor:
    """Mean over images of v^T (J^T J)^-1 v / n, by d = argmin |J d|^2 - 2 v^T d."""
    n = len(v)
    d, p, s = torch.zeros_like(v), v.clone(), v.clone()
    gamma = s.flatten(1).square().sum(1)
    first = gamma.clone()
    for _ in range(_SOLVES):
        moving = gamma > 1e-10 * first
        if not bool(moving.any()):
            break
        q = linear.pull(linear.push(p))
        bend = (p * q).flatten(1).sum(1)
        alpha = torch.where(moving & (bend > 0), gamma / bend.clamp(min=1e-30), 0.0)
        alpha = alpha.view(-1, *(1,) * (v.dim() - 1))
        d, s = d + alpha * p, s - alpha * q
        after = s.flatten(1).square().sum(1)
        p = s + (after / gamma.clamp(min=1e-30)).view(-1, *(1,) * (v.dim() - 1)) * p
        gamma = torch.where(moving, after, gamma)
    return (v * d).flatten(1).sum(1).mean() / v[0].numel() if n else torch.zeros(())


def extremes(linear: Operator, like: Tensor) -> tuple[float, float]:
    """Square roots of the extreme Ritz values of J^T J after 30 Lanczos steps."""
    generator = Rng(0, ("lanczos",)).torch()
    q = torch.randn(like.shape, generator=generator).to(like)
    q = q / q.norm()
    basis, alphas, betas = [q], [], []
    for _ in range(min(_STEPS, q.numel())):
        w = linear.pull(linear.push(basis[-1]))
        alphas.append(float((w * basis[-1]).sum()))
        for old in basis:
            w = w - (w * old).sum() * old
        beta = float(w.norm())
        if beta < 1e-7 * abs(alphas[0]):
            break
        betas.append(beta)
        basis.append(w / beta)
    count = len(alphas)
    matrix = torch.diag(torch.tensor(alphas, dtype=torch.float64))
    if count > 1:
        off = torch.tensor(betas[: count - 1], dtype=torch.float64)
        matrix += torch.diag(off, 1) + torch.diag(off, -1)
    values = torch.linalg.eigvalsh(matrix).clamp(min=0).sqrt()
    return float(values[0]), float(values[-1])
