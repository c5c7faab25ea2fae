"""Rows whose outer products sum to JᵀJ, from vector-Jacobian products."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from splitveil.errors import BadModel
from splitveil.shapes import Targets

Head: TypeAlias = Callable[[Tensor], Tensor]


def jacobian_rows(
    head: Head, x: Targets, generator: torch.Generator, *, probes: int
) -> Float[Tensor, "p n d"]:
    """Rows g of each image with E sum_p g gᵀ = J_fᵀ J_f, J_f the Jacobian of `head` there.

    One backward pass a row. With fewer `probes` than features, g = J_fᵀ u / sqrt(probes) for
    u ~ N(0, I); else the rows of J_f itself, and the sum is exact. The head must treat images one
    by one (eval mode). Kinks (ReLU, max-pool, clipping) are differentiated almost everywhere; a
    hard rounding gives zeros, which would claim that nothing crosses.

    Raises:
        BadModel: if the head lets no gradient through.
    """
    with torch.enable_grad():
        inputs = x.detach().clone().requires_grad_(True)
        z = head(inputs).flatten(1)
        if not z.requires_grad:
            raise BadModel(
                "the head lets no gradient through: it is constant, detached or rounds to integers"
            )
        features = z.shape[1]
        exact = probes >= features
        rows = []
        for row in range(features if exact else probes):
            if exact:
                cotangent = torch.zeros_like(z)
                cotangent[:, row] = 1
            else:
                noise = torch.randn(z.shape, generator=generator, dtype=z.dtype)
                cotangent = noise.to(z.device) / probes**0.5
            (gradient,) = torch.autograd.grad(
                z, inputs, cotangent, retain_graph=True, materialize_grads=True
            )
            rows.append(gradient.flatten(1))
    return torch.stack(rows)
