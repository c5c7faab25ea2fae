"""Diagonal Fisher information leakage: a proxy that ranks."""

import torch

from splitveil.errors import BadPlan
from splitveil.estimators.bootstrap import mean_interval
from splitveil.estimators.jacobian import Head, jacobian_rows
from splitveil.measures.checks import finite
from splitveil.measures.fisher.information import gaussian_channel
from splitveil.quantities import Kind, Quantity
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Targets

TRAP = (
    "1 / dFIL limits unbiased attackers only: where the head forgets a direction there is no "
    "unbiased attacker, and even the mean image may do better"
)
_CHUNK = 32


def dfil(
    head: Head, x: Targets, release: Release, rng: Rng, *, probes: int = 16, sends: int = 1
) -> Quantity:
    """Mean over images of tr(J_x) / d with J_x = R J_fᵀ J_f / s², for Gaussian noise s.

    A proxy, never a limit on attackers: its reciprocal is the Cramer-Rao error of unbiased ones,
    and good attackers are biased. Unmoved by rescaling features and noise together.

    Args:
        head: from targets to features, in eval mode, one image at a time.
        x: the images, in the dtype of the head.
        release: Gaussian noise, or post-processing of it.
        rng: stream of probes.
        probes: random probes for each image; at least as many as features give the exact trace.
        sends: R, how many times each image is sent with fresh noise.

    Returns:
        Unit: 1 / mse per value. Kind: proxy. Interval: bootstrap over images, 95 %.

    References:
        Maeng et al., arXiv 2305.04146.

    Raises:
        BadData: if images or gradients are not finite.
        BadPlan: if the release is not Gaussian, or there are fewer than 2 images, 1 probe or 1
            send.
    """
    if len(x) < 2 or probes < 1 or sends < 1:
        raise BadPlan(
            f"dFIL needs at least 2 images, 1 probe and 1 send, got {len(x)}, {probes} and {sends}"
        )
    finite(x, "images")
    seen, scale = gaussian_channel(head, release)
    found = []
    for start in range(0, len(x), _CHUNK):
        rows = jacobian_rows(
            seen, x[start : start + _CHUNK], rng.child("probes", start).torch(), probes=probes
        )
        found.append(rows.double().square().sum((0, 2)).cpu() * sends / scale**2)
    values = torch.cat(found) / x[0].numel()
    finite(values, "gradients")
    interval = mean_interval(values.numpy(), rng)
    return Quantity(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        unit="1 / mse per value",
        kind=Kind.PROXY,
        n=len(values),
        assumptions=(TRAP, "images are independent draws"),
    )
