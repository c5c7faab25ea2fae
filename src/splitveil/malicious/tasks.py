"""What a network is trained for in the open: one class of several, or several attributes."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from splitveil.data import LabelledImages
from splitveil.errors import BadData, BadPlan
from splitveil.measures import accuracy, mean_of
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.shapes import Logits

TaskLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]


class Task(ABC):
    """What outputs mean; `probabilities` names the release of them as probabilities."""

    probabilities: ClassVar[str]

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many a network for this task has."""

    @abstractmethod
    def labels(self, images: LabelledImages) -> Tensor:
        """Labels that fit the task.

        Raises:
            BadData: if there are none, they have another form, or name what does not exist.
        """

    @abstractmethod
    def loss(self, labels: Tensor) -> TaskLoss:
        """The loss of (logits, labels), its weights fixed from all training labels.

        Raises:
            BadData: if they cannot teach the task.
        """

    @abstractmethod
    def probability(self, logits: Logits) -> Tensor:
        """Probabilities (n, k) from logits."""

    @abstractmethod
    def right(self, logits: Logits, labels: Tensor) -> Tensor:
        """Share of each image's answers that are right, (n,), float64."""

    def accuracy(self, logits: Logits, labels: Tensor, rng: Rng) -> Quantity:
        """Share of right answers with its interval over images."""
        return mean_of(self.right(logits, labels), rng, unit="share", support=(0.0, 1.0))


@dataclass(frozen=True)
class MultiClass(Task):
    """One of `classes`: cross entropy; labels (n,) from 0.

    Raises:
        BadPlan: if there are fewer than two classes.
    """

    probabilities: ClassVar[str] = "softmax"

    classes: int

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise BadPlan(
                f"a choice needs at least 2 classes, got {self.classes}: one yes-or-no output is "
                'MultiAttribute(("name",))'
            )

    @property
    def outputs(self) -> int:
        return self.classes

    def labels(self, images: LabelledImages) -> Tensor:
        y = _given(images)
        if y.dim() != 1:
            raise BadData(f"one class an image is asked for, got labels of shape {tuple(y.shape)}")
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < self.classes:
            raise BadData(
                f"labels run from {int(y.min())} to {int(y.max())}, the task has {self.classes} "
                "classes: label from 0, or name more classes"
            )
        return y

    def loss(self, labels: Tensor) -> TaskLoss:
        if len(labels) < self.classes:
            raise BadData(
                f"{len(labels)} images for {self.classes} classes: give at least one of each"
            )
        return cross_entropy

    def probability(self, logits: Logits) -> Tensor:
        return logits.softmax(1)

    def right(self, logits: Logits, labels: Tensor) -> Tensor:
        return (logits.argmax(1) == labels).double()

    def accuracy(self, logits: Logits, labels: Tensor, rng: Rng) -> Quantity:
        """Share of right answers with its exact binomial interval."""
        return accuracy(logits, labels)


@dataclass(frozen=True)
class MultiAttribute(Task):
    """Yes or no for each of `names`: labels (n, names) of 0 and 1, a logit >= 0 says yes.

    The mean over attributes of the binary cross entropy with logits, the yes answers of attribute
    k weighted by its training images' #no / #yes; all attributes in one expression.

    Raises:
        BadPlan: if there is no name, or one twice.
    """

    probabilities: ClassVar[str] = "sigmoid"

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) < len(self.names):
            raise BadPlan(f"attributes need names, each of another, got {self.names}")

    @property
    def outputs(self) -> int:
        return len(self.names)

    def labels(self, images: LabelledImages) -> Tensor:
        y = _given(images)
        if y.dim() != 2 or y.shape[1] != len(self.names):
            raise BadData(
                f"{len(self.names)} attributes an image are asked for, got labels of shape "
                f"{tuple(y.shape)}"
            )
        if not bool(((y == 0) | (y == 1)).all()):
            raise BadData("attributes are 0 or 1: other labels were given")
        return y

    def loss(self, labels: Tensor) -> TaskLoss:
        yes = labels.sum(0)
        for name, count in zip(self.names, yes.tolist(), strict=True):
            if count in (0, len(labels)):
                raise BadData(
                    f"attribute '{name}' is the same for all {len(labels)} training images: drop "
                    "it, or give images of both kinds"
                )
        weight = (len(labels) - yes) / yes

        def loss(logits: Tensor, wanted: Tensor) -> Tensor:
            return binary_cross_entropy_with_logits(
                logits, wanted.to(logits.dtype), pos_weight=weight.to(logits)
            )

        return loss

    def probability(self, logits: Logits) -> Tensor:
        return logits.sigmoid()

    def right(self, logits: Logits, labels: Tensor) -> Tensor:
        return ((logits >= 0) == (labels == 1)).double().mean(1)

    def each(self, logits: Logits, labels: Tensor) -> dict[str, float]:
        """Share of images with the right answer, by attribute."""
        right = ((logits >= 0) == (labels == 1)).double().mean(0)
        return dict(zip(self.names, right.tolist(), strict=True))


def _given(images: LabelledImages) -> Tensor:
    if images.y is None:
        raise BadData("a task is learnt from labels: these images have none")
    if images.y.dtype is not torch.int64:
        raise BadData(f"labels are whole numbers (int64), got {images.y.dtype}")
    return images.y
