"""What the network is still good for: top-1 accuracy and agreement with itself."""

from scipy import stats

from splitveil.errors import BadData
from splitveil.measures.checks import OtherLabels, OtherLogits, finite
from splitveil.quantities import Kind, Quantity
from splitveil.shapes import Logits, Mask


def accuracy(logits: Logits, labels: OtherLabels) -> Quantity:
    """Share of images whose largest logit is the label's, with its exact binomial interval.

    Clopper and Pearson 1934, 95 %; unit: share in [0, 1]; kind: measured.

    Example:
        >>> import torch
        >>> print(accuracy(torch.eye(3), torch.tensor([0, 1, 1])))
        0.667 [0.0943, 0.992] share

    Raises:
        BadData: if there are no images, counts differ, a label names no class, or a logit is not
            finite.
    """
    if len(logits) != len(labels):
        raise BadData(f"{len(logits)} answers for {len(labels)} labels: give one label an image")
    finite(logits, "answers")
    classes = logits.shape[1]
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise BadData(
            f"labels run from {int(labels.min())} to {int(labels.max())}, the model knows "
            f"{classes} classes: check the class order"
        )
    return share_of(logits.argmax(1) == labels.to(logits.device))


def agreement(logits: Logits, reference: OtherLogits) -> Quantity:
    """Share of images on which two networks name the same class; needs no labels.

    Raises:
        BadData: if there are no images, shapes differ, or a logit is not finite.
    """
    if logits.shape != reference.shape:
        raise BadData(
            f"answers of shape {tuple(logits.shape)} cannot be compared with "
            f"{tuple(reference.shape)}"
        )
    finite(logits, "answers")
    finite(reference, "reference answers")
    return share_of(logits.argmax(1) == reference.to(logits.device).argmax(1))


def share_of(hits: Mask) -> Quantity:
    """Share of true values with its exact binomial interval (Clopper and Pearson, 95 %).

    Raises:
        BadData: if there are none to count.
    """
    if not len(hits):
        raise BadData("no images to count")
    count = int(hits.sum())
    ends = stats.binomtest(count, len(hits)).proportion_ci(0.95, method="exact")
    value = count / len(hits)
    return Quantity(
        value=value,
        low=min(float(ends.low), value),
        high=max(float(ends.high), value),
        unit="share",
        kind=Kind.MEASURED,
        n=len(hits),
        assumptions=("images are independent draws",),
    )
