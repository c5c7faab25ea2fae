"""A panel of honest and malicious networks to try detectors of one's own on."""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from splitveil.data import LabelledImages
from splitveil.errors import BadData, BadPlan
from splitveil.malicious import MultiClass, train_malicious
from splitveil.models import PixelModel
from splitveil.models.weights import fit_weights
from splitveil.nets.small_pair import SmallDecoder
from splitveil.rng import Rng
from splitveil.storage import storing
from splitveil.training import Schedule
from splitveil.vetting.shadows import Recipe, small_network, train_shadow

Part = Literal["train", "test"]
ARMS = tuple((weight, release) for weight in (3.0, 10.0, 1.0) for release in ("logits", "softmax"))
COUNTS: dict[Part, int] = {"test": 20, "train": 10}
_FAMILY, _BATCH, _DECODER = "plain", 64, 16


@dataclass(frozen=True, kw_only=True)
class Member:
    """One network of the panel: its place, and how it is trained.

    `weight` and `release` are those of the malicious loss; 0 and "" for honest ones.
    """

    part: Part
    vicious: bool
    number: int
    recipe: Recipe
    weight: float = 0.0
    release: str = ""

    @property
    def name(self) -> str:
        """`test-vicious-03`."""
        return f"{self.part}-{'vicious' if self.vicious else 'honest'}-{self.number:02d}"


def members(rng: Rng, *, epochs: int = 1) -> tuple[Member, ...]:
    """Twenty honest and twenty malicious networks to test on, ten and ten to learn from.

    Recipes are drawn alike for both; malicious ones weigh the picture 3, 10 or 1 times the task and
    release class scores or their softmax, in turns. Which is where is fixed by the seed.
    """
    found = []
    for part, count in COUNTS.items():
        for number in range(count):
            for vicious in (False, True):
                stream = rng.child(part, "vicious" if vicious else "honest", number)
                recipe = Recipe.drawn(epochs, stream, batch=_BATCH)
                weight, release = ARMS[number % len(ARMS)] if vicious else (0.0, "")
                found.append(
                    Member(
                        part=part,
                        vicious=vicious,
                        number=number,
                        recipe=recipe,
                        weight=weight,
                        release=release,
                    )
                )
    return tuple(found)


def build_panel(
    folder: Path,
    images: LabelledImages,
    validation: LabelledImages,
    *,
    rng: Rng,
    epochs: int = 1,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Train every network of the panel that the folder does not hold yet.

    A run that was stopped goes on where it was. Weights go into one .safetensors file a network,
    which also tells its recipe, the CPU seconds and the malicious ones' error.

    Args:
        folder: where they go.
        images: labelled, to train on.
        validation: labelled, to choose the epoch of the malicious ones by.
        rng: fixes recipes, weights and division.
        epochs: of each training.
        say: is told of each network.

    Raises:
        BadData: if images have no labels or do not vary.
        StorageFailed: if the folder cannot be written.
    """
    if images.y is None or validation.y is None:
        raise BadData("a panel is trained on labelled images: these have none")
    classes = int(max(images.y.max(), validation.y.max())) + 1
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for member in members(rng, epochs=epochs):
        path = folder / f"{member.name}.safetensors"
        if path.exists():
            continue
        began = time.process_time()
        network, told = _trained(member, images, validation, classes, rng)
        told["cpu_seconds"] = f"{time.process_time() - began:.1f}"
        described = {"member": json.dumps(asdict(member)), "classes": str(classes), **told}
        state = {name: value.contiguous() for name, value in network.state_dict().items()}
        fresh = path.with_suffix(".part")
        with storing(path):
            save_file(state, fresh, metadata=described)
            os.replace(fresh, path)
        say(f"{member.name}: {told}")


def _trained(
    member: Member, images: LabelledImages, validation: LabelledImages, classes: int, rng: Rng
) -> tuple[nn.Module, dict[str, str]]:
    recipe, channels = member.recipe, images.x.shape[1]
    stream = rng.child(member.part, "vicious" if member.vicious else "honest", member.number)

    def make(recipe: Recipe) -> nn.Module:
        return small_network(_FAMILY, channels, classes, recipe.width)

    if not member.vicious:
        shadow = train_shadow(make, images, recipe, stream, number=member.number)
        return shadow.network, {}
    mean, std = round(float(images.x.mean()), 6), round(float(images.x.std()), 6)
    with stream.child("init").as_global():
        network = PixelModel(make(recipe), mean=(mean,), std=(std,))
        shape = (channels, images.x.shape[2], images.x.shape[3])
        decoder = SmallDecoder(classes, shape, width=_DECODER)
    found = train_malicious(
        network.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        decoder,
        images,
        task=MultiClass(classes),
        validation=validation,
        rng=stream,
        release=member.release,
        weight=member.weight,
        augmentation=None,
        schedule=Schedule(
            epochs=recipe.epochs,
            batch=recipe.batch,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            precision="bf16-mixed",
        ),
    )
    last = found.history[-1]
    return found.model, {"mse": f"{last.mse:.5f}", "similarity": f"{last.similarity:.4f}"}


def read_panel(folder: Path) -> Iterator[tuple[Member, PixelModel, dict[str, str]]]:
    """Every network of a panel in eval mode, with its description.

    Raises:
        BadPlan: if the folder holds no panel.
    """
    paths = sorted(folder.glob("t*-*-[0-9][0-9].safetensors"))
    if not paths:
        raise BadPlan(f"{folder} holds no panel: build one with `splitveil vet --build-panel`")
    for path in paths:
        with safe_open(path, "pt") as stored:
            described = stored.metadata()
        data = json.loads(described["member"])
        member = Member(**{**data, "recipe": Recipe(**data["recipe"])})
        state = load_file(path)
        channels = int(state["network.conv.weight"].shape[1])
        network = PixelModel(
            small_network(_FAMILY, channels, int(described["classes"]), member.recipe.width)
        )
        fit_weights(network, state, str(path))
        yield member, network.eval(), described
