"""T4: do pixels move the scores of classes that lose as much as that of the one that wins?"""

import torch

from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.vetting.statistics.answers import Answers


def saliency(answers: Answers, rng: Rng) -> Quantity:
    """Mean length of the pixel gradients of losing classes' scores over that of the winner's.

    Averaged over losing classes, then the ratio of the means over images. 1 where all scores hang
    on the pixels alike.

    Returns:
        Unit: ratio. Kind: proxy. Infinite where no pixel moves the winner.
    """
    slopes = answers.slopes
    if slopes is None:
        raise ValueError("no gradients are known")
    winner = answers.scores[: len(slopes)].argmax(1, keepdim=True)
    top = slopes.gather(1, winner).sum()
    rest = (slopes.sum() - top) / (slopes.shape[1] - 1)
    value = float(rest / top) if float(top) > 0 else float("inf")
    if torch.isnan(rest / top):
        value = 0.0
    return Quantity.exact(
        value,
        unit="ratio",
        kind=Kind.PROXY,
        n=len(slopes),
        assumptions=("of these images, without a sampling interval",),
    )
