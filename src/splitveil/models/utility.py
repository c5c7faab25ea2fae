"""What the model is for, as a score of each image: top-1, or the user's own."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from splitveil.errors import BadModel
from splitveil.naming import one_line, resolve
from splitveil.shapes import Labels, Logits, PerImage


@dataclass(frozen=True)
class Utility:
    """A score for each image from logits and labels, larger is better; `name` names it."""

    name: str
    function: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, logits: Logits, labels: Labels) -> PerImage:
        """Scores of shape (n,).

        Raises:
            BadModel: if the function fails or its result is not one finite number an image.
        """
        try:
            scores = self.function(logits, labels)
        except Exception as failure:
            raise BadModel(f"utility {self.name} failed: {one_line(failure)}") from failure
        if not isinstance(scores, Tensor) or scores.shape != (len(labels),):
            got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise BadModel(
                f"utility {self.name} gave {got}: return one score for each of {len(labels)} images"
            )
        if not scores.isfinite().all():
            raise BadModel(f"utility {self.name} gave NaN or infinity: return finite scores")
        return scores.detach().float()


def top1(logits: Tensor, labels: Tensor) -> Tensor:
    """1 where the largest logit is at the label, else 0."""
    return logits.argmax(1).eq(labels).to(torch.float32)


TOP1 = Utility("top1", top1)


def load_utility(name: str | None = None) -> Utility:
    """Top-1, or the function `package.module:function` of (logits, labels), which is executed.

    Raises:
        BadModel: if it cannot be imported or called.
        UnknownName: if the module has no such function.
    """
    if name is None or name == TOP1.name:
        return TOP1
    function = resolve(name, what="utility", error=BadModel)
    if not callable(function):
        raise BadModel(f"utility '{name}' is a {type(function).__name__}: name a function")
    return Utility(name, function)
