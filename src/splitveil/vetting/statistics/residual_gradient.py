"""T1: is the last layer where its task alone would have left it?"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.vetting.statistics.answers import Answers, LastLayer

_STEPS, _RATE = 50, 1e-2
_ASSUMED = ("of these images, without a sampling interval",)


def residual_gradient(answers: Answers, rng: Rng) -> Quantity:
    """Length of the task loss's gradient at the last layer over that of its weights.

        |∇_(W, b) L| / |W|,  ∇_W L = (softmax(scores) - onehot)ᵀ inputs / n

    with L the mean cross entropy. A network trained for its task alone rests where this is small
    on its training images; on others it is not 0 either, so compare with honest ones alone.

    Returns:
        Unit: 1 over the unit of weights. Kind: proxy.
    """
    last = _last(answers)
    wrong = answers.scores.softmax(1)
    wrong[torch.arange(len(wrong)), answers.labels] -= 1
    wrong /= len(wrong)
    squared = (wrong.T @ last.inputs).square().sum() + wrong.sum(0).square().sum()
    size = last.weight.norm().clamp_min(torch.finfo(torch.float64).tiny)
    return _exactly(float(squared.sqrt() / size), "gradient over weights", len(wrong))


def last_layer_gain(answers: Answers, rng: Rng) -> Quantity:
    """Share of the task loss that 50 Adam steps on the last layer alone take away.

    On all images at once at a rate of 0.01, from where the layer stands. A layer held back by
    another goal has more to gain; so has one that was trained briefly or fits other images.

    Returns:
        Unit: share. Kind: proxy.
    """
    last = _last(answers)
    weight, bias = (part.clone().requires_grad_() for part in (last.weight, last.bias))
    optimiser = torch.optim.Adam([weight, bias], lr=_RATE)
    losses: list[Tensor] = []
    with torch.enable_grad():
        for _ in range(_STEPS + 1):
            loss = cross_entropy(last.inputs @ weight.T + bias, answers.labels)
            losses.append(loss.detach())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    first, least = float(losses[0]), float(torch.stack(losses).min())
    gain = 0.0 if first <= 0 else 1 - least / first
    return _exactly(gain, "share", len(answers.labels))


def _last(answers: Answers) -> LastLayer:
    if answers.last is None:
        raise ValueError("no last layer is known")
    return answers.last


def _exactly(value: float, unit: str, n: int) -> Quantity:
    return Quantity.exact(value, unit=unit, kind=Kind.PROXY, n=n, assumptions=_ASSUMED)
