"""A network and labelled images small enough to harden in a second."""

from itertools import pairwise

import torch
from torch import nn

from splitveil.data import LabelledImages, TrainingImages
from splitveil.rng import Rng
from splitveil.training import Schedule

CLASSES = 4
SCHEDULE = Schedule(epochs=4, batch=32, learning_rate=1e-2)


def images(count: int = 512) -> TrainingImages:
    """Class templates under noise: learnt in a few epochs, not at once."""
    g = Rng(7).torch()
    y = torch.arange(count) % CLASSES
    templates = torch.rand(CLASSES, 1, 6, 6, generator=g)
    x = (0.5 * templates[y] + 0.5 * torch.rand(count, 1, 6, 6, generator=g)).clamp(0, 1)
    ends = (0, count // 2, 3 * count // 4, count)
    parts = [LabelledImages(x[a:b], y[a:b], torch.arange(a, b)) for a, b in pairwise(ends)]
    return TrainingImages(
        name="templates",
        train=parts[0],
        validation=parts[1],
        probe=parts[2],
        class_names=("ant", "bee", "cat", "dog"),
    )


def net() -> nn.Module:
    """Convolution with BatchNorm and dropout, then two linear layers."""
    with Rng(1).as_global():
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(36, 12),
            nn.ReLU(),
            nn.Linear(12, CLASSES),
        ).eval()
