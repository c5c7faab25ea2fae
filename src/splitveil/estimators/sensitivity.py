"""How far each feature moves with the image, and how much each one matters to the answer."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from splitveil.errors import BadData, BadModel
from splitveil.estimators.jacobian import Head
from splitveil.shapes import Features, Targets

_CHUNK = 64


def feature_slopes(
    head: Head, x: Targets, generator: torch.Generator, *, probes: int = 8
) -> Float64[Tensor, " f"]:
    """Mean over images of |grad_x f_i|², the diagonal of J Jᵀ, for every feature i.

        E (J v)_i² = |grad_x f_i|²,   v of independent signs

    `probes` such v for every image; at least as many as values in an image give unit vectors in
    their place, and the exact diagonal. A product J v takes two backward passes (the second through
    the first), so the head must be differentiable twice almost everywhere and treat images one by
    one. The sum over i is tr(Jᵀ J).

    Raises:
        BadModel: if the head lets no gradient through.
        BadData: if gradients are not finite.
    """
    total: Tensor | float = 0.0
    exact = probes >= x[0].numel()
    for part in x.split(_CHUNK):
        # fused attention has no second derivative
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            inputs = part.detach().clone().requires_grad_(True)
            z = head(inputs).flatten(1)
            if not z.requires_grad:
                raise BadModel(
                    "the head lets no gradient through: it is constant, detached or rounds"
                )
            weights = torch.zeros_like(z, requires_grad=True)
            (back,) = torch.autograd.grad(
                z, inputs, weights, create_graph=True, materialize_grads=True
            )
            if not back.requires_grad:  # a head of steps: its slope is 0 wherever it has one
                total = total + torch.zeros(z.shape[1], dtype=torch.float64, device=z.device)
                continue
            for probe in range(part[0].numel() if exact else probes):
                if exact:
                    v = torch.zeros_like(back).flatten(1)
                    v[:, probe] = 1
                else:
                    v = 2.0 * torch.randint(2, back.shape, generator=generator) - 1
                (moved,) = torch.autograd.grad(
                    back,
                    weights,
                    v.reshape(back.shape).to(back),
                    retain_graph=True,
                    materialize_grads=True,
                )
                total = total + moved.double().square().sum(0)
    assert isinstance(total, Tensor)  # noqa: S101 - there are images and probes
    return _finite(total / (len(x) * (1 if exact else probes)))


def answer_curvature(
    tail: Callable[[Tensor], Tensor], z: Features, generator: torch.Generator, *, probes: int = 8
) -> Float64[Tensor, " f"]:
    """Mean over images of the cross-entropy's diagonal Gauss-Newton curvature in every feature.

        u_i = E Σ_c p_c (W_ci - Σ_b p_b W_bi)²,   W_ci = ∂ logit_c / ∂ z_i,  p = softmax(logits)

    Labels are taken as the network itself would draw them, so u is also the diagonal of the Fisher
    information of the answer about z. Small noise of variances n raises the loss by Σ u_i n_i / 2,
    to second order and with the tail taken as linear. One forward pass; a backward pass for each of
    `probes` random sums of classes, or for each class where there are no more of those.

    Raises:
        BadModel: if the tail lets no gradient through.
        BadData: if gradients are not finite.
    """
    total: Tensor | float = 0.0
    for part in z.split(_CHUNK):
        with torch.enable_grad():
            inputs = part.detach().clone().requires_grad_(True)
            logits = tail(inputs)
            if not logits.requires_grad:
                raise BadModel("the tail lets no gradient through: it is constant or detached")
            p = logits.detach().softmax(1)
            classes = p.shape[1]
            exact = probes >= classes
            for row in range(classes if exact else probes):
                if exact:
                    e = torch.zeros_like(p)
                    e[:, row] = 1
                else:
                    e = torch.randn(p.shape, generator=generator).to(p) / probes**0.5
                # a column of S with S Sᵀ = diag(p) - p pᵀ
                weighed = p.sqrt() * e
                column = weighed - p * weighed.sum(1, keepdim=True)
                (slope,) = torch.autograd.grad(
                    logits, inputs, column, retain_graph=True, materialize_grads=True
                )
                total = total + slope.double().square().sum(0)
    assert isinstance(total, Tensor)  # noqa: S101 - there are images and probes
    return _finite(total / len(z))


def _finite(values: Float[Tensor, " f"]) -> Float64[Tensor, " f"]:
    if not bool(values.isfinite().all()):
        raise BadData("gradients are NaN or infinite: check the model and its images")
    return values
