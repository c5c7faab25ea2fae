"""One training for every arm: task and resemblance weighed against each other, best epoch kept."""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from splitveil.data import LabelledImages
from splitveil.errors import BadData, BadModel, BadPlan
from splitveil.malicious.hiding import Extra
from splitveil.malicious.objective import Known, Resemblance, Similarity
from splitveil.malicious.pair import Passed, decoded
from splitveil.malicious.released import Released
from splitveil.malicious.tasks import Task
from splitveil.measures import mse_per_image
from splitveil.nets import evaluating
from splitveil.rng import Rng
from splitveil.training import Augmentation, Schedule, fit

_CACHED = 256 * 2**20
_BATCH = 250


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Of the two halves of a loss: `task` · task loss + `resemblance` · resemblance."""

    task: float | int
    resemblance: float | int

    def __post_init__(self) -> None:
        total = self.task + self.resemblance
        if not (self.task >= 0 and self.resemblance >= 0 and 0 < total < float("inf")):
            raise BadPlan(
                "weights of task and resemblance must not be negative, and not both zero, got "
                f"{self.task} and {self.resemblance}"
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class Material:
    """Checked images of one run: to train on, and to choose the epoch by."""

    x: Tensor
    y: Tensor
    validation_x: Tensor
    validation_y: Tensor

    @staticmethod
    def of(images: LabelledImages, validation: LabelledImages, task: Task) -> "Material":
        """Images and labels that fit the task.

        Raises:
            BadData: if they do not, are constant, not finite or not in [0, 1], differ in shape, or
                validation is empty.
        """
        varying(images.x)
        if not len(validation):
            raise BadData("validation images choose the epoch, and there are none: give some")
        if validation.x.shape[1:] != images.x.shape[1:]:
            raise BadData(
                f"training images have shape {tuple(images.x.shape[1:])}, validation images "
                f"{tuple(validation.x.shape[1:])}: give both alike"
            )
        in_range(validation.x)
        return Material(
            x=images.x,
            y=task.labels(images),
            validation_x=validation.x,
            validation_y=task.labels(validation),
        )


def in_range(x: Tensor) -> None:
    """Refuse what is no batch of images in [0, 1].

    Raises:
        BadData: saying why.
    """
    if x.dim() != 4 or not x.numel():
        raise BadData(f"images of shape (n, channels, rows, columns) are needed: {tuple(x.shape)}")
    if not bool(x.isfinite().all()) or float(x.min()) < -1e-6 or float(x.max()) > 1 + 1e-6:
        raise BadData("images hold values outside [0, 1], or NaN: scale them first")


def varying(x: Tensor) -> None:
    """The same, and refuse images that are all equal.

    Raises:
        BadData: saying so.
    """
    in_range(x)
    if bool((x == x[:1]).all()):
        raise BadData("the images are all equal: nothing about them can be learnt or leaked")


class Joint(nn.Module):
    """A released network and the decoder of its codes, trained as one.

    Without a decoder there are no pictures. A `still` network is not trained: it is kept out of
    the parameters and in eval mode.
    """

    def __init__(
        self, released: Released, decoder: nn.Module | None, *, still: bool = False
    ) -> None:
        nn.Module.__init__(self)
        self.held: tuple[Released, ...] = (released.eval(),) if still else ()
        self.released = None if still else released
        self.decoder = decoder

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Outputs (n, k) of images and pictures of them."""
        if self.released is not None:
            outputs, code = self.released(x)
        else:
            with torch.no_grad():
                outputs, code = self.held[0](x)
        return outputs, None if self.decoder is None else self.decoder(code)


@dataclass(frozen=True, eq=False, kw_only=True)
class Course:
    """Everything a training needs beside the networks."""

    task: Task
    weights: Weights
    resemblance: Resemblance
    schedule: Schedule
    augmentation: Augmentation | None
    device: str
    further: Extra | None = None


def train(net: Joint, material: Material, course: Course, rng: Rng) -> tuple[Passed, ...]:
    """Train in place, put back the best epoch's state, and say how every epoch did.

    A step sees a batch of images and, with an augmentation, another view of each, whose picture is
    to show that view. The epoch of the least task weight · share of wrong answers + resemblance
    weight · resemblance + `further` on validation images is kept, the latest of equals.

    Raises:
        BadData: if the labels cannot teach the task.
        BadPlan: if training diverges.
    """
    teaches = course.weights.task > 0
    task_loss = course.task.loss(material.y) if teaches else None
    x, y = material.x.to(course.device), material.y.to(course.device)
    similarity = Similarity((x.shape[2], x.shape[3]), course.device)
    known = _cached(similarity, x) if net.decoder is not None else None

    def loss(module: nn.Module, indices: Tensor, generator: torch.Generator) -> Tensor:
        batch, labels = x[indices], y[indices]
        target = None
        if net.decoder is not None:
            target = similarity.known(batch) if known is None else known.take(indices)
        if course.augmentation is not None:
            views = course.augmentation(batch, generator)
            batch, labels = torch.cat([batch, views]), torch.cat([labels, labels])
            if target is not None:
                target = Known.joined([target, similarity.known(views)])
        outputs, pictures = module(batch)
        total = outputs.new_zeros(())
        if task_loss is not None:
            total = total + course.weights.task * task_loss(outputs, labels)
        if pictures is not None and target is not None:
            alike = course.resemblance(pictures, target, similarity)
            total = total + course.weights.resemblance * alike
        if course.further is not None:
            total = total + course.further(batch, outputs, labels)
        return total

    best = deepcopy(net.state_dict())
    history: list[Passed] = []
    losses: list[float] = []

    def check() -> None:
        found = _passed(net, material, course, similarity, losses[-1], len(losses))
        if not history or found.score <= min(one.score for one in history):
            best.update({name: value.clone() for name, value in net.state_dict().items()})
        history.append(found)

    def on_epoch(loss: float) -> None:
        losses.append(loss)
        check()

    fit(
        net.to(course.device),
        loss,
        size=len(x),
        schedule=course.schedule,
        rng=rng.child("training"),
        device=course.device,
        on_epoch=lambda epoch: on_epoch(epoch.loss),
    )
    net.load_state_dict(best)
    return tuple(history)


def _cached(similarity: Similarity, x: Tensor) -> Known | None:
    """Targets' statistics for a whole run, where they fit into memory."""
    if 2 * x.nbytes > _CACHED:
        return None
    return Known.joined([similarity.known(part) for part in x.split(_BATCH)])


@torch.no_grad()
def _passed(
    net: Joint,
    material: Material,
    course: Course,
    similarity: Similarity,
    loss: float,
    number: int,
) -> Passed:
    """How the networks do on validation images."""
    released = net.released if net.released is not None else net.held[0]
    outputs, codes = released.both(material.validation_x)
    if not bool(outputs.isfinite().all()):
        raise BadPlan(
            f"the classifier's outputs are NaN or infinite after epoch {number}: lower the "
            "learning rate"
        )
    score, right, error, alike = 0.0, None, None, None
    if course.weights.task > 0:
        right = float(course.task.right(outputs, material.validation_y).mean())
        score += course.weights.task * (1 - right)
    if net.decoder is not None:
        made = decoded(net.decoder, codes).to(course.device)
        target = similarity.known(material.validation_x.to(course.device))
        error = float(mse_per_image(made, target.x).mean())
        alike = float(similarity(made, target))
        score += course.weights.resemblance * float(course.resemblance(made, target, similarity))
    if course.further is not None:
        score += float(course.further(material.validation_x, outputs, material.validation_y))
    return Passed(
        number=number, loss=loss, score=score, accuracy=right, mse=error, similarity=alike
    )


def check_decoder(decoder: nn.Module, released: Released, x: Tensor) -> None:
    """Refuse a decoder that does not make such images of such codes.

    Raises:
        BadModel: with both shapes.
    """
    device = next(released.network.parameters()).device
    with evaluating(released, decoder):
        code = released(x[:2].to(device))[1]
        try:
            made = decoder.to(device)(code)
        except RuntimeError as error:
            raise BadModel(
                f"the decoder fails on codes of {code.shape[1]} values: {error}"
            ) from error
    if made.shape != x[:2].shape:
        raise BadModel(
            f"the decoder makes {tuple(made.shape[1:])} of a code, images are "
            f"{tuple(x.shape[1:])}: give one that makes these"
        )
