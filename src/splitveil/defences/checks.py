"""What must hold before anything is trained."""

import torch
from torch import Tensor, nn

from splitveil.data.training import TrainingImages
from splitveil.data.types import LabelledImages
from splitveil.errors import BadData, BadModel
from splitveil.models.accuracy import predict
from splitveil.rng import Rng

_CALIBRATION = 1000


def outputs_of(model: nn.Module, data: TrainingImages) -> int:
    """How many classes the model tells apart; refuses labels it has no output for."""
    classes = predict(model, data.train.x[:2]).shape[1]
    for part in data.parts:
        assert part.y is not None  # noqa: S101 - TrainingImages has labels
        low, high = int(part.y.min()), int(part.y.max())
        if not 0 <= low <= high < classes:
            raise BadData(
                f"labels run from {low} to {high}, the model gives {classes} outputs: give a model "
                "or data that fit"
            )
    return classes


def draw_anew(network: nn.Module, rng: Rng) -> None:
    """Draw every weight by its layer's own rule.

    Raises:
        BadModel: if a weight belongs to a layer without one.
    """
    with rng.as_global():
        for name, part in network.named_modules():
            own = [key for key, _ in part.named_parameters(recurse=False)]
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                reset()
            elif own:
                where = f"{name}.{own[0]}" if name else own[0]
                raise BadModel(
                    f"'{where}' has no rule to be drawn anew: give a factory of an untrained "
                    "network and start from its weights"
                )


def trainable(images: LabelledImages, batch: int) -> tuple[Tensor, Tensor]:
    """Images and labels; one image less where a batch of one would be left over.

    Batch statistics of a single image do not exist.
    """
    assert images.y is not None  # noqa: S101 - TrainingImages has labels
    keep = len(images) - (len(images) > 1 and len(images) % batch == 1)
    return images.x[:keep], images.y[:keep]


def calibration(images: LabelledImages, rng: Rng) -> tuple[Tensor, Tensor]:
    """Some training images, drawn at random, to fit scales on."""
    assert images.y is not None  # noqa: S101 - TrainingImages has labels
    rows = torch.randperm(len(images), generator=rng.torch())[:_CALIBRATION].sort().values
    return images.x[rows], images.y[rows]
