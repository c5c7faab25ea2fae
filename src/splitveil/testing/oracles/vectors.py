"""A partition whose targets are vectors and whose head is one linear map."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splitveil.partition.layout import Layout, Part
from splitveil.partition.types import Cut, CutKind, Partition
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.threat import Auxiliary, Observation, WhiteBox, white_box


def linear_partition(
    name: str, matrix: Float[Tensor, "f d"], offset: Float[Tensor, " f"], release: Release
) -> Partition:
    """Head z = A x + b, then `release`; the tail is the identity."""
    head = nn.Linear(matrix.shape[1], matrix.shape[0], dtype=matrix.dtype)
    with torch.no_grad():
        head.weight.copy_(matrix)
        head.bias.copy_(offset)
    layout = Layout((Part("z", (matrix.shape[0],), dtype=str(matrix.dtype).split(".")[1]),))
    cut = Cut(id=name, name=name, kind=CutKind.LINEAR, depth=1.0, layout=layout)
    return Partition(cut, head.eval().requires_grad_(False), release, nn.Identity())


def vector_knowledge(partition: Partition, x: Targets) -> WhiteBox:
    """All an attacker may know, with `x` as its own targets; there are no labels."""
    return white_box(partition, Auxiliary(x), knows_label=False)


def vector_observation(partition: Partition, x: Targets, sends: int, rng: Rng) -> Observation:
    """What is intercepted when every target is sent `sends` times with fresh noise."""
    sent = [partition.transmit(x, rng.child("send", i)) for i in range(sends)]
    return Observation(torch.stack(sent, 1), partition.cut.layout)
