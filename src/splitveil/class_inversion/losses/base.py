"""What a search lowers: how little an image is of its class, and how little it is an image."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from splitveil.shapes import Features, Labels, Logits, PerImage


@dataclass(frozen=True, eq=False)
class Answer:
    """What one model says of some images.

    `logits` (n, k). `offset` (n, f) are penultimate features less their mean over public images,
    where a loss asks for them: of the model under attack alone, None of the attacker's own. `first`
    (n, k) are the logits that the last layer of the model under attack gives the features of the
    network it was fine-tuned from, where the attacker has that and a loss asks for it.
    """

    logits: Logits
    offset: Features | None = None
    first: Logits | None = None


class IdentityLoss(ABC):
    """Settings of a loss that falls as images become the class: one number an image.

    No image enters another's number, so classes and restarts may share a batch.
    """

    needs_features: ClassVar[bool] = False
    needs_first: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, answer: Answer, labels: Labels) -> PerImage:
        """Losses (n,) for the classes `labels`."""


class PriorLoss(ABC):
    """Settings of a loss that falls as the prior's critic takes images for real ones."""

    outputs: ClassVar[str]
    """"one" number an image, or "classes": which critic it reads."""

    @abstractmethod
    def __call__(self, verdict: Tensor) -> PerImage:
        """Losses (n,) from what the critic says, (n,) or (n, k)."""


def chosen(logits: Logits, labels: Labels) -> PerImage:
    """The logit of each image's class."""
    return logits.gather(1, labels[:, None])[:, 0]
