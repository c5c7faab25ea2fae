"""A network in two halves, and what crosses between them."""

from dataclasses import dataclass, field
from enum import StrEnum

import torch
from torch import Tensor, nn

from splitveil.partition.layout import Layout
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Features, Targets


class CutKind(StrEnum):
    """After what a cut lies."""

    CONVOLUTION = "convolution"
    LINEAR = "linear"
    ACTIVATION = "activation"
    POOL = "pool"
    BLOCK = "block"
    INSIDE = "inside block"
    OUTPUT = "output"
    OTHER = "other"


@dataclass(frozen=True)
class Cut:
    """A place where a network can be cut.

    `id` hashes operations, module paths and shapes, so it is the same under every tracer;
    `name` is what a person recognises, a module path such as `stage2.block1`; `depth` in (0, 1]
    is the share of the network's operations on the device; `layout` says what crosses.
    """

    id: str
    name: str
    kind: CutKind
    depth: float
    layout: Layout = field(repr=False)


@dataclass(frozen=True, eq=False)
class Partition:
    """Both halves of a network at one cut: `tail(head(x))` equals the uncut model.

    `head` maps targets, for images in [0, 1] with normalisation included, to packed features z of
    shape (n, f); `tail` maps z to the model's outputs. `trainable` is False where only inference
    is exact.
    """

    cut: Cut
    head: nn.Module
    release: Release
    tail: nn.Module
    trainable: bool = True
    notes: tuple[str, ...] = ()

    def features(self, x: Targets) -> Features:
        """Z before the release."""
        z: Tensor = self.head(x)
        return z

    def transmit(self, x: Targets, rng: Rng) -> Features:
        """Exactly what leaves the device, as the receiver decodes it."""
        return self.release(self.features(x), rng.torch())

    @torch.no_grad()
    def predict(self, z: Features) -> Tensor:
        """The cloud's answer to what it received."""
        out: Tensor = self.tail(z)
        return out
