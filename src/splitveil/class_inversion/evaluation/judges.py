"""Classifiers that say what a reconstruction shows: never the model under attack."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splitveil.class_inversion import files
from splitveil.class_inversion.access import last_linear
from splitveil.data import LabelledImages
from splitveil.errors import BadData, BadPlan
from splitveil.measures import accuracy
from splitveil.models.reference import ir, resnet, vgg, vit
from splitveil.naming import resolve
from splitveil.nets import evaluating
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.shapes import Images
from splitveil.training import Augmentation, Epoch, Schedule, fit

_FAMILIES: dict[str, Callable[..., nn.Module]] = {
    "ir": ir,
    "resnet": resnet,
    "vgg": vgg,
    "vit": vit,
}
_BATCH = 512
JudgeLogits: TypeAlias = Float[Tensor, "n k"]
JudgeFeatures: TypeAlias = Float[Tensor, "n f"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Judge:
    """A classifier of the private classes, and how well it tells them apart.

    `network` maps images in [0, 1] to logits, class by class as the model under attack; it must
    end in a linear layer, whose input are its features. `accuracy` is on private images that no
    network was trained on.
    """

    name: str
    network: nn.Module
    accuracy: Quantity

    def __call__(self, x: Images) -> tuple[JudgeLogits, JudgeFeatures]:
        """Logits and features of images, without gradient, on the CPU."""
        place = next(self.network.parameters()).device
        caught: list[Tensor] = []
        with evaluating(self.network):
            last = last_linear(self.network, x[:1].to(place))
            hook = last.register_forward_pre_hook(lambda _, given: caught.append(given[0].cpu()))
            try:
                logits = [self.network(part.to(place)).cpu() for part in x.split(_BATCH)]
            finally:
                hook.remove()
        return torch.cat(logits), torch.cat(caught)


@dataclass(frozen=True, kw_only=True)
class Judges:
    """How judges are trained: families other than the model's, on images it was not trained on.

    `families` are "resnet", "ir", "vgg" and "vit" for images of 32 pixels, or
    `package.module:factory`, called with channels and classes. One judge alone has blind spots that
    attacks find: use several.

    Raises:
        BadPlan: if there are none, or one twice.
    """

    families: tuple[str, ...] = ("resnet", "ir")
    schedule: Schedule = field(default_factory=lambda: Schedule(epochs=20))
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(flip=0.0, erase=0.2))

    def __post_init__(self) -> None:
        if not self.families or len(set(self.families)) < len(self.families):
            raise BadPlan(f"judges need one or more families, each once: got {self.families}")


def train_judges(
    recipe: Judges,
    train: LabelledImages,
    held_out: LabelledImages,
    *,
    classes: int,
    rng: Rng,
    folder: Path | None = None,
    device: str = "cpu",
    on_epoch: Callable[[str, Epoch], None] = lambda name, epoch: None,
) -> tuple[Judge, ...]:
    """Train a judge of each family, or read those that `folder` holds.

    Every judge is trained to the end of the schedule: nothing is chosen on `held_out`, which only
    its accuracy is measured on.

    Args:
        recipe: families and schedule.
        train: labelled private images, none of which trained the model under attack.
        held_out: others of the same classes.
        classes: how many the model under attack tells apart.
        rng: the stream of weights, order and views.
        folder: where judges are kept.
        device: where to train.
        on_epoch: told of each family's epochs.

    Raises:
        BadData: if labels are missing.
        BadPlan: if a family does not exist, training diverges, or a file is damaged.
        StorageFailed: if one cannot be written.
    """
    if train.y is None or held_out.y is None:
        raise BadData("judges need labels: give one subfolder a class, or an .npz with y")
    digest = files.digest(recipe, train.x, train.y, rng, classes)
    found = []
    for family in recipe.families:
        own = rng.child("judge", family)
        make = _FAMILIES.get(family) or resolve(family, what="judge", error=BadPlan)
        with own.child("weights").as_global():
            network: nn.Module = make(channels=train.x.shape[1], classes=classes)
        name = family.rpartition(":")[2]
        kept = None if folder is None else folder / f"judge-{name}-{digest[:16]}.safetensors"
        stored = None if kept is None else files.read(kept)
        if stored is not None:
            network.load_state_dict(stored[0])
        else:
            _fit(network, recipe, train, own, device, partial(on_epoch, name))
            if kept is not None:
                files.write(kept, network.state_dict(), {"family": family})
        network.to(device).eval().requires_grad_(requires_grad=False)
        found.append(judge(name, network, held_out))
    return tuple(found)


def judge(name: str, network: nn.Module, held_out: LabelledImages) -> Judge:
    """A judge of a network trained elsewhere, with its accuracy on private images held out.

    Raises:
        BadData: if labels are missing or there are no images.
        BadModel: if the network does not end in a linear layer.
    """
    if held_out.y is None:
        raise BadData(f"the accuracy of judge {name} needs labels")
    place = next(network.parameters()).device
    with evaluating(network):
        logits = torch.cat([network(x.to(place)).cpu() for x in held_out.x.split(_BATCH)])
    return Judge(name=name, network=network, accuracy=accuracy(logits, held_out.y))


def _fit(
    network: nn.Module,
    recipe: Judges,
    train: LabelledImages,
    rng: Rng,
    device: str,
    on_epoch: Callable[[Epoch], None],
) -> None:
    x, y = train.x.to(device), train.y
    assert y is not None  # noqa: S101 - checked by the caller
    y = y.to(device)

    def loss(module: nn.Module, indices: Tensor, generator: torch.Generator) -> Tensor:
        rows = indices.to(x.device)
        views = recipe.augmentation(x[rows], generator)
        return nn.functional.cross_entropy(module(views), y[rows])

    fit(
        network,
        loss,
        size=len(x),
        schedule=recipe.schedule,
        rng=rng.child("training"),
        device=device,
        on_epoch=on_epoch,
    )
