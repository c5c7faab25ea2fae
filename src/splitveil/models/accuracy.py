"""Does the model do its work on these images? Asked before anything else is measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest
from torch import Tensor, nn

from splitveil.errors import AuditError, BadModel
from splitveil.naming import one_line
from splitveil.quantities import Kind, Quantity
from splitveil.shapes import Images, Labels, Logits

_TELLING = 0.25


@dataclass(frozen=True)
class ClassOrder:
    """The matching of outputs to labels that gets most images right, and its accuracy.

    `outputs[label]` is the position of that label's logit. The accuracy is optimistic: the order
    was chosen on the same images.
    """

    outputs: tuple[int, ...]
    accuracy: float


@torch.no_grad()
def predict(network: nn.Module, x: Images, *, batch: int = 250) -> Logits:
    """Logits (n, k) of `network` in eval mode; its mode is restored afterwards.

    Raises:
        BadModel: if the network fails on these images, or its result is no finite (n, k) tensor.
    """
    training = network.training
    network.eval()
    try:
        parts = [network(part) for part in x.split(batch)]
    except AuditError:
        raise
    except Exception as failure:
        raise BadModel(
            f"the model fails on images of shape {tuple(x.shape[1:])} ({one_line(failure)}): give "
            "the size= and channels= that it takes"
        ) from failure
    finally:
        network.train(training)
    for part in parts:
        if not isinstance(part, Tensor):
            raise BadModel(
                f"the model gives a {type(part).__name__}, not logits: choose them with output="
            )
    logits = torch.cat(parts)
    if logits.ndim != 2 or len(logits) != len(x):
        raise BadModel(
            f"the model gives shape {tuple(logits.shape)} for {len(x)} images: expected logits of "
            f"shape ({len(x)}, classes)"
        )
    if not logits.isfinite().all():
        bad = int((~logits.isfinite()).any(1).sum())
        raise BadModel(
            f"the model gives NaN or infinite logits for {bad} of {len(x)} images: check its "
            "weights, mean and std"
        )
    return logits.float()


def check_accuracy(
    network: nn.Module, x: Images, y: Labels, *, class_names: Sequence[str] = ()
) -> Quantity:
    """Top-1 accuracy, the share of images whose largest logit is at their label.

    The interval is Wilson's at 95 %. With k classes, accuracy is near chance if the interval's
    upper end is below 2/k, or below 1/k + (1 - 1/k)/4 where that is less, as for two classes.

    Args:
        network: maps images in [0, 1] to logits.
        x: at least one image; classes should be about equally many.
        y: their labels.
        class_names: names of the labels, for the message.

    Raises:
        BadModel: if a label has no output, or accuracy is near chance: normalisation or class
            order? If another order of the outputs explains it, the message says which.
    """
    logits = predict(network, x)
    outputs, largest = logits.shape[1], int(y.max())
    if largest >= outputs:
        raise BadModel(
            f"the data have label {largest} but the model gives {outputs} outputs: give the "
            "model's classes= or other data"
        )
    hits, count = int(logits.argmax(1).eq(y).sum()), len(y)
    interval = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    accuracy = Quantity(
        value=hits / count,
        low=min(float(interval.low), hits / count),
        high=max(float(interval.high), hits / count),
        unit="share",
        kind=Kind.MEASURED,
        n=count,
        assumptions=("images are independent draws",),
    )
    chance = 1 / max(2, len(class_names) or largest + 1)
    if accuracy.high < min(2 * chance, chance + (1 - chance) * _TELLING):
        raise BadModel(
            f"accuracy {accuracy} on {count} labelled images is near chance ({chance:.3g}): "
            f"normalisation or class order? {_advice(logits, y, accuracy, class_names)}"
        )
    return accuracy


def class_order_hint(
    network: nn.Module, x: Images, y: Labels, *, class_names: Sequence[str] = ()
) -> str | None:
    """Advice where another order of the outputs would be right far more often, else None.

    A wrong order can leave accuracy above chance, so `check_accuracy` alone does not see it.
    """
    logits = predict(network, x)
    if int(y.max()) >= logits.shape[1]:
        return None
    accuracy = float(logits.argmax(1).eq(y).double().mean())
    return _order_advice(logits, y, accuracy, class_names)


def best_class_order(logits: Logits, labels: Labels) -> ClassOrder:
    """Match labels to outputs so that most images are right (Hungarian method).

    Raises:
        BadModel: if there are fewer outputs than labels.
    """
    outputs, classes = logits.shape[1], int(labels.max()) + 1
    if outputs < classes:
        raise BadModel(f"{outputs} outputs cannot be matched to {classes} labels")
    confusion = np.zeros((classes, outputs), np.int64)
    np.add.at(confusion, (labels.numpy(), logits.argmax(1).numpy()), 1)
    rows, columns = linear_sum_assignment(confusion, maximize=True)
    return ClassOrder(tuple(map(int, columns)), float(confusion[rows, columns].sum() / len(labels)))


def _advice(logits: Tensor, labels: Tensor, accuracy: Quantity, names: Sequence[str]) -> str:
    advice = _order_advice(logits, labels, accuracy.high, names)
    return "Check mean and std and the weights." if advice is None else advice


def _order_advice(
    logits: Tensor, labels: Tensor, accuracy: float, names: Sequence[str]
) -> str | None:
    best = best_class_order(logits, labels)
    if best.accuracy < max(0.5, accuracy + _TELLING):
        return None
    if sorted(best.outputs) != list(range(logits.shape[1])):
        shown = ", ".join(map(str, best.outputs))
        return (
            f"Accuracy would be {best.accuracy:.2f} with class order: labels at outputs {shown}; "
            "set classes="
        )
    by_output = sorted(range(len(best.outputs)), key=lambda label: best.outputs[label])
    shown = ",".join(names[label] if label < len(names) else str(label) for label in by_output)
    return f"Accuracy would be {best.accuracy:.2f} with class order classes={shown}"
