"""What a maker who knows the detector adds to the loss: tell the probes nothing."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, relu

from splitveil.errors import BadPlan
from splitveil.rng import Rng

Extra: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A further term of a loss, of images (n, c, h, w), outputs (n, k) and labels."""

_SIDE = 4
_RIDGE = 1e-2


@dataclass(frozen=True, kw_only=True)
class Hiding:
    """weight · R², what a probe explains of thumbnails beyond the class, in each batch.

        R² = tr(Cᵀ (G + λ I)⁻¹ C) / tr(TᵀT),   G = AᵀA,  C = AᵀT,  λ = 0.01 mean of diag(G)

    A are the outputs of a batch and T its 4x4 thumbnails, both less their class means. With `bends`
    the probe also reads so many random bent combinations relu(Aw + b), as the guard does. Closed
    form, with a gradient. It hides from probes of this kind, not from every one.

    Labels of several attributes are taken apart by their pattern.

    Raises:
        BadPlan: if the weight is not positive or finite, or bends are negative.
    """

    weight: float
    bends: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf or self.bends < 0:
            raise BadPlan(f"a positive weight and no negative bends are needed, got {self}")

    def __call__(self, x: Tensor, outputs: Tensor, labels: Tensor) -> Tensor:
        """A scalar with a gradient in the outputs."""
        groups = labels.reshape(len(labels), -1).unique(dim=0, return_inverse=True)[1]
        target = _less_means(adaptive_avg_pool2d(x.detach(), _SIDE).flatten(1), groups)
        code = _less_means(outputs, groups)
        scale = code.square().mean().add(1e-12).sqrt()
        if self.bends:
            draw = Rng(0, ("hiding",)).torch()
            ways = torch.randn(code.shape[1], self.bends, generator=draw).to(code)
            edges = torch.randn(self.bends, generator=draw).to(code)
            bent = relu(code / scale @ ways * (1.5 / math.sqrt(code.shape[1])) + edges)
            code = torch.cat([code / scale, _less_means(bent, groups)], 1)
        gram, cross = code.T @ code, code.T @ target
        penalty = _RIDGE * gram.diagonal().mean() + 1e-9
        eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        explained = (cross * torch.linalg.solve(gram + penalty * eye, cross)).sum()
        return self.weight * explained / target.square().sum().clamp_min(1e-12)


def _less_means(values: Tensor, groups: Tensor) -> Tensor:
    kinds = int(groups.max()) + 1
    counts = groups.bincount(minlength=kinds).clamp_min(1).to(values)
    sums = torch.zeros(kinds, values.shape[1], dtype=values.dtype, device=values.device)
    means = sums.index_add(0, groups, values) / counts[:, None]
    return values - means[groups]
