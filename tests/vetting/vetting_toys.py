"""Problems of vetting whose answers are known."""

import torch
from torch import Tensor, nn

from splitveil.data import LabelledImages
from splitveil.rng import Rng
from splitveil.vetting import Answers

CLASSES = 4
VARIANCES = torch.tensor([4.0, 3.0, 2.0, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1], dtype=torch.float64)


def problem(n: int = 800, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Images (n, 1, 3, 3), labels, and what tells images of a class apart (n, 9), exactly centred.

    Pixels vary independently within classes, by `VARIANCES`; class means differ.
    """
    generator = Rng(seed).torch()
    labels = torch.arange(n) % CLASSES
    own = torch.randn(n, 9, generator=generator, dtype=torch.float64) * VARIANCES.sqrt()
    means = torch.randn(CLASSES, 9, generator=generator, dtype=torch.float64)
    return (means[labels] + own).reshape(n, 1, 3, 3), labels, own


def answers(x: Tensor, labels: Tensor, sent: Tensor) -> Answers:
    """Answers whose outputs are the labels and which send `sent`."""
    outputs = torch.nn.functional.one_hot(labels, CLASSES) * 9.0
    return Answers.of(x, labels, outputs.float(), sent=sent)


def pictures(n: int = 120, seed: int = 0, classes: int = CLASSES) -> LabelledImages:
    """Images in [0, 1] of 16x16 pixels, a bright row for each class, and noise."""
    generator = Rng(seed).torch()
    y = torch.arange(n) % classes
    x = 0.3 * torch.rand(n, 1, 16, 16, generator=generator)
    x[torch.arange(n), 0, 3 * y % 16] += 0.6
    return LabelledImages(x, y)


class Tiny(nn.Module):
    """A linear classifier of 16x16 images."""

    def __init__(self, classes: int = CLASSES) -> None:
        nn.Module.__init__(self)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(256, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.flatten(x))
        return out


def stuck() -> nn.Module:
    """A factory that always gives the same weights, as one does that loads them from a file."""
    network = Tiny()
    with torch.no_grad():
        network.classifier.weight.fill_(1.0)
        network.classifier.bias.zero_()
    return network
