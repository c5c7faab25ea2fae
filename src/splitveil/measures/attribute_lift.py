"""What an attribute attack tells beyond what the label tells already."""

import torch
from jaxtyping import Int64
from torch import Tensor

from splitveil.errors import BadData
from splitveil.estimators.order_statistics import share_interval
from splitveil.measures.paired import paired_difference
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.shapes import Labels


def attribute_lift(
    answers: Labels,
    floor: Int64[Tensor, " n2"],
    truth: Int64[Tensor, " n3"],
    rng: Rng,
) -> dict[str, Quantity]:
    """Accuracy of inferred attributes, that of a guess without z, and the difference.

    lift = share right from z - share right from the label alone, on the same images. Accuracy by
    itself says little: a rare attribute is guessed right most of the time, and one that follows
    from the label leaks with the label.

    Args:
        answers: the attribute inferred for each image.
        floor: what is guessed without z, such as `LabelOnly` gives.
        truth: the true attribute.
        rng: stream of the bootstrap.

    Returns:
        "accuracy", "floor" and "lift", in shares. Kind: measured. Images count as independent.

    Raises:
        BadData: if the three do not have the same length, or are fewer than two.
    """
    if not len(answers) == len(floor) == len(truth) or len(truth) < 2:
        raise BadData(
            f"{len(answers)} answers, {len(floor)} guesses without z and {len(truth)} true "
            "attributes: give as many of each, at least 2"
        )
    right, blind = (guess.cpu() == truth.cpu() for guess in (answers, floor))
    return {
        "accuracy": _share(right),
        "floor": _share(blind),
        "lift": paired_difference(right.double(), blind.double(), rng, unit="share"),
    }


def _share(right: Tensor) -> Quantity:
    interval = share_interval(float(torch.count_nonzero(right)), len(right))
    return Quantity(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        unit="share",
        kind=Kind.MEASURED,
        n=len(right),
        assumptions=("images are independent draws",),
    )
