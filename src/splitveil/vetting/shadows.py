"""Honest networks trained on the spot: what statistics look like when nobody hid anything."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from splitveil.data import LabelledImages
from splitveil.errors import BadData, BadPlan
from splitveil.models import PixelModel
from splitveil.rng import Rng
from splitveil.training import Schedule, fit
from splitveil.vetting import small_nets

FAMILIES = ("embedding", "plain", "residual", "tokens")
_RATES = (1.5e-3, 6e-3)
_DECAYS = (0.0, 5e-4, 5e-2)
_SMOOTHINGS = (0.0, 0.0, 0.0, 0.1)
_WIDTHS = (0.75, 1.0, 1.25)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one honest network is trained: cross-entropy alone.

    `width` multiplies a small network's own; it is 1 where the network is somebody else's.
    """

    epochs: int
    learning_rate: float = 3e-3
    weight_decay: float = 5e-4
    smoothing: float = 0.0
    mirrored: bool = False
    width: float = 1.0
    batch: int = 128

    @staticmethod
    def drawn(epochs: int, rng: Rng, *, batch: int = 128) -> "Recipe":
        """A recipe as honest people choose them, each setting drawn on its own.

        Learning rate log-uniform in 0.0015 to 0.006; weight decay 0, 0.0005 or 0.05; label
        smoothing 0.1 for one in four; mirrored images for one in two; width 0.75, 1 or 1.25 times.
        """
        g = rng.child("recipe").numpy()
        low, high = _RATES
        return Recipe(
            epochs=epochs,
            learning_rate=round(float(low * (high / low) ** g.random()), 6),
            weight_decay=float(g.choice(_DECAYS)),
            smoothing=float(g.choice(_SMOOTHINGS)),
            mirrored=bool(g.random() < 0.5),
            width=float(g.choice(_WIDTHS)),
            batch=batch,
        )


@dataclass(frozen=True, eq=False)
class Shadow:
    """One honest network, in eval mode from pixels to logits, and how it came about."""

    number: int
    network: PixelModel
    recipe: Recipe
    loss: float
    cpu_seconds: float


def small_network(family: str, channels: int, classes: int, width: float = 1.0) -> nn.Module:
    """An untrained small network: plain (vgg), residual (resnet), embedding (ir), tokens (vit).

    Raises:
        BadPlan: if there is no such family.
    """
    if family not in FAMILIES:
        raise BadPlan(f"no small networks called '{family}': choose among {', '.join(FAMILIES)}")
    make: Callable[..., nn.Module] = getattr(small_nets, family)
    usual = small_nets.WIDTHS[family]
    return make(channels=channels, classes=classes, width=round(usual * width / 4) * 4)


def train_shadow(
    make: Callable[[Recipe], nn.Module],
    images: LabelledImages,
    recipe: Recipe,
    rng: Rng,
    *,
    number: int = 0,
) -> Shadow:
    """Train one honest network by cross-entropy; the same seed gives the same weights.

    Args:
        make: an untrained network for normalised images, drawn from the global generator.
        images: labelled images in [0, 1].
        recipe: its settings.
        rng: the stream of this shadow.
        number: its place among others.

    Raises:
        BadData: if the images have no labels or are all of one value.
        BadPlan: if training diverges.
    """
    if images.y is None:
        raise BadData("shadows are trained on labelled images: these have no labels")
    x, y = images.x, images.y
    mean, std = float(x.mean()), float(x.std())
    if not std > 0:
        raise BadData("all pixels of all images are alike: nothing can be learnt from them")
    with rng.child("init").as_global():
        network = make(recipe)
    model = PixelModel(network, mean=(round(mean, 6),), std=(round(std, 6),))
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(module: nn.Module, indices: Tensor, generator: torch.Generator) -> Tensor:
        batch = x[indices]
        if recipe.mirrored:
            flipped = torch.rand(len(batch), 1, 1, 1, generator=generator) < 0.5
            batch = torch.where(flipped, batch.flip(-1), batch)
        return cross_entropy(module(batch), y[indices], label_smoothing=recipe.smoothing)

    began = time.process_time()
    trace = fit(
        model,
        loss,
        size=len(x),
        schedule=Schedule(
            epochs=recipe.epochs,
            batch=recipe.batch,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            precision="bf16-mixed",
        ),
        rng=rng,
    )
    spent = time.process_time() - began
    return Shadow(number, model.float(), recipe, trace.losses[-1], spent)


def train_shadows(
    make: Callable[[Recipe], nn.Module],
    images: LabelledImages,
    *,
    count: int,
    epochs: int,
    rng: Rng,
    skip: frozenset[int] = frozenset(),
) -> Iterator[Shadow]:
    """Honest networks one after another, each with its own stream and drawn recipe.

    Shadow i depends on the seed and i alone, so a run that was stopped goes on with `skip`.

    Raises:
        BadData: as `train_shadow`.
        BadPlan: if there are none to train, or training diverges.
    """
    if count < 1 or epochs < 1:
        raise BadPlan(f"count and epochs of shadows must be positive, got {count} and {epochs}")
    for number in range(count):
        if number not in skip:
            stream = rng.child("shadow", number)
            recipe = Recipe.drawn(epochs, stream)
            yield train_shadow(make, images, recipe, stream, number=number)
