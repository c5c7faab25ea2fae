"""A malicious pair, and the arms it is to be compared with."""

from copy import deepcopy
from dataclasses import replace

from torch import nn

from splitveil.data import LabelledImages
from splitveil.malicious.hiding import Extra
from splitveil.malicious.joint import Course, Joint, Material, Weights, check_decoder, train
from splitveil.malicious.objective import Resemblance
from splitveil.malicious.pair import Honest, Malicious
from splitveil.malicious.released import LOGITS, Released
from splitveil.malicious.tasks import Task
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.training import Augmentation, Schedule

SCHEDULE = Schedule(epochs=12, batch=128, learning_rate=2e-3, weight_decay=0.0)
RESEMBLANCE = Resemblance()
TASK_ALONE = Weights(task=1.0, resemblance=0.0)
PICTURE_ALONE = Weights(task=0.0, resemblance=1.0)
AUGMENTATION = Augmentation()


def train_malicious(
    classifier: nn.Module,
    decoder: nn.Module,
    images: LabelledImages,
    *,
    task: Task,
    validation: LabelledImages,
    rng: Rng,
    release: str = LOGITS,
    weight: float | int = 3.0,
    resemblance: Resemblance = RESEMBLANCE,
    schedule: Schedule = SCHEDULE,
    augmentation: Augmentation | None = AUGMENTATION,
    extra: Extra | None = None,
    device: str = "cpu",
) -> Malicious:
    """Train a classifier to answer well and to let a secret decoder see the image in its answer.

        L = task loss + weight · [a_H Huber(x̂, x) + a_S (1 - SSIM(x̂, x))],  x̂ = decoder(released)

    with a_H = 5 and a_S = 1 by default, both networks under one optimiser. Accuracy alone does not
    show it. With a weight of 0 the classifier is trained honestly and the decoder fitted
    afterwards: the control. Networks given are not changed; copies start from their weights.

    Args:
        classifier: images in [0, 1] to outputs (n, k); at a cut it must be traceable, and the
            model that comes back is its graph.
        decoder: codes (n, f) to images in [0, 1].
        images: to train on, labelled as the task says.
        task: `MultiClass(classes)` or `MultiAttribute(names)`.
        validation: chooses the epoch, and gives the accuracy.
        rng: stream of the training.
        release: "logits"; "softmax" for classes, "sigmoid" for attributes; or a cut's name or id.
        weight: of the resemblance against the task.
        resemblance: a_H and a_S.
        schedule: of the optimiser.
        augmentation: makes the other view that every step sees of each image; None for no view.
        extra: a further term of the loss, and of what chooses the epoch, of images, outputs and
            labels: `Hiding` plays a maker who knows the detector. Without effect at weight 0.
        device: to train on.

    Raises:
        BadData: if images are constant, unlabelled, fewer than classes, or not in [0, 1].
        BadModel: if the networks do not fit the images and the task, or give NaN.
        BadPlan: if the weight is negative, or training diverges.
        UnknownName: if the release is no cut.

    References:
        Malekzadeh and Gündüz 2022, Vicious classifiers.
    """
    course = Course(
        task=task,
        weights=Weights(task=1.0, resemblance=weight),
        resemblance=resemblance,
        schedule=schedule,
        augmentation=augmentation,
        device=device,
        further=extra,
    )
    material = Material.of(images, validation, task)
    if weight == 0:
        found = _honest(classifier, material, course, rng.child("honest"))
        return _afterwards(found.model, decoder, release, material, course, rng.child("decoder"))
    return _coupled(classifier, decoder, release, material, course, rng)


def train_honest(
    classifier: nn.Module,
    images: LabelledImages,
    *,
    task: Task,
    validation: LabelledImages,
    rng: Rng,
    schedule: Schedule = SCHEDULE,
    augmentation: Augmentation | None = AUGMENTATION,
    device: str = "cpu",
) -> Honest:
    """The same classifier trained for its task alone, by the same loop with the same views.

    Arguments and errors as `train_malicious`.
    """
    course = Course(
        task=task,
        weights=TASK_ALONE,
        resemblance=RESEMBLANCE,
        schedule=schedule,
        augmentation=augmentation,
        device=device,
    )
    return _honest(classifier, Material.of(images, validation, task), course, rng)


def fit_afterwards(
    model: nn.Module,
    decoder: nn.Module,
    images: LabelledImages,
    *,
    task: Task,
    validation: LabelledImages,
    rng: Rng,
    release: str = LOGITS,
    resemblance: Resemblance = RESEMBLANCE,
    schedule: Schedule = SCHEDULE,
    augmentation: Augmentation | None = AUGMENTATION,
    device: str = "cpu",
) -> Malicious:
    """A decoder fitted to a network that stays as it is: what an honest but curious server gets.

    The decoder's loss is the resemblance alone. Arguments and errors as `train_malicious`.
    """
    course = Course(
        task=task,
        weights=PICTURE_ALONE,
        resemblance=resemblance,
        schedule=schedule,
        augmentation=augmentation,
        device=device,
    )
    material = Material.of(images, validation, task)
    return _afterwards(model, decoder, release, material, course, rng)


def autoencoder(
    encoder: nn.Module,
    decoder: nn.Module,
    images: LabelledImages,
    *,
    task: Task,
    validation: LabelledImages,
    rng: Rng,
    release: str = LOGITS,
    resemblance: Resemblance = RESEMBLANCE,
    schedule: Schedule = SCHEDULE,
    augmentation: Augmentation | None = AUGMENTATION,
    device: str = "cpu",
) -> Malicious:
    """The same two networks with no task to serve: how much so small a code can carry at all.

    A yardstick only as good as its training. Arguments and errors as `train_malicious`.
    """
    course = Course(
        task=task,
        weights=PICTURE_ALONE,
        resemblance=resemblance,
        schedule=schedule,
        augmentation=augmentation,
        device=device,
    )
    material = Material.of(images, validation, task)
    return replace(_coupled(encoder, decoder, release, material, course, rng), accuracy=None)


def _honest(classifier: nn.Module, material: Material, course: Course, rng: Rng) -> Honest:
    """A copy of the classifier trained for its task, whatever else the course weighs."""
    course = replace(course, weights=TASK_ALONE, further=None)
    released = _released(deepcopy(classifier), LOGITS, material, course)
    history = train(Joint(released, None), material, course, rng)
    accuracy = _accuracy(released, material, rng)
    return Honest(model=released.network.eval(), accuracy=accuracy, history=history)


def _afterwards(
    model: nn.Module,
    decoder: nn.Module,
    release: str,
    material: Material,
    course: Course,
    rng: Rng,
) -> Malicious:
    """A copy of the decoder fitted to a model that stays, whatever else the course weighs."""
    course = replace(course, weights=PICTURE_ALONE, further=None)
    released = _released(deepcopy(model).eval(), release, material, course)
    check_decoder(decoder, released, material.x)
    net = Joint(released, deepcopy(decoder), still=True)
    return _pair(net, released, material, course, rng)


def _coupled(
    classifier: nn.Module,
    decoder: nn.Module,
    release: str,
    material: Material,
    course: Course,
    rng: Rng,
) -> Malicious:
    """Copies of both trained together as the course weighs them."""
    released = _released(deepcopy(classifier), release, material, course)
    check_decoder(decoder, released, material.x)
    return _pair(Joint(released, deepcopy(decoder)), released, material, course, rng)


def _released(network: nn.Module, release: str, material: Material, course: Course) -> Released:
    return Released(network.to(course.device), release, course.task, material.x)


def _pair(
    net: Joint, released: Released, material: Material, course: Course, rng: Rng
) -> Malicious:
    history = train(net, material, course, rng)
    assert net.decoder is not None  # noqa: S101 - every caller gives one
    return Malicious(
        model=released.network.eval(),
        decoder=net.decoder.eval(),
        release=released.release,
        accuracy=_accuracy(released, material, rng),
        history=history,
        released=released.eval(),
    )


def _accuracy(released: Released, material: Material, rng: Rng) -> Quantity:
    outputs = released.both(material.validation_x)[0]
    return released.task.accuracy(outputs, material.validation_y, rng.child("accuracy"))
