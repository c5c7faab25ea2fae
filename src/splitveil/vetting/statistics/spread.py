"""T2: how far answers to images of one class lie apart, and in how many directions."""

import torch
from torch import Tensor

from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.vetting.statistics.answers import Answers, centred

_ASSUMED = ("of these images, without a sampling interval",)


def spread(answers: Answers, rng: Rng) -> Quantity:
    """tr(S_W) / tr(S_B) of what is sent: spread within classes over spread between their means.

    S_W is the mean squared distance from the class mean, S_B that of class means from the mean of
    all, images weighing alike. Free of scale, not of other linear maps. 0 where classes have
    collapsed to points; infinite where their means are one.

    Returns:
        Unit: ratio. Kind: proxy.
    """
    inside = float(centred(answers.sent, answers.labels).square().sum())
    total = float((answers.sent - answers.sent.mean(0)).square().sum())
    between = max(0.0, total - inside)
    if inside <= 1e-24 * total or total == 0:
        value = 0.0
    else:
        value = inside / between if between > 1e-12 * total else float("inf")
    return _exactly(value, "ratio", len(answers.labels))


def effective_rank(answers: Answers, rng: Rng) -> Quantity:
    """Exponential of the entropy of the within-class variances of what is sent, by direction.

    1 where images of a class differ along one line, f where they differ alike in all f directions;
    0 where they do not differ at all.

    Returns:
        Unit: directions. Kind: proxy.
    """
    inside = centred(answers.sent, answers.labels)
    powers: Tensor = torch.linalg.svdvals(inside).square()
    scale = float(answers.sent.square().sum())
    if float(powers.sum()) <= 1e-24 * scale or not scale:
        return _exactly(0.0, "directions", len(inside))
    parts = powers / powers.sum()
    return _exactly(float(torch.special.entr(parts).sum().exp()), "directions", len(inside))


def _exactly(value: float, unit: str, n: int) -> Quantity:
    return Quantity.exact(value, unit=unit, kind=Kind.PROXY, n=n, assumptions=_ASSUMED)
