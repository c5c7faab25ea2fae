"""Where the reference networks are cut in the golden-zone experiments, comparable cut by cut."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from splitveil.errors import BadPlan, UnknownName
from splitveil.partition import Cut, CutKind, Layout, Part, Partition, Traced
from splitveil.release import Identity
from splitveil.reproduce.bench import Reference

LOGITS = "logits"
TOKEN = "class token"  # noqa: S105 - of a transformer
LAST_BLOCK = "blocks.4"
_WIDTH = 80

PLACES: Mapping[str, Mapping[str, int]] = {
    "vgg": {
        "relu1": 16384,
        "pool1": 4096,
        "pool2": 2048,
        "pool3": 1024,
        "pool4": 512,
        "pool5": 128,
        LOGITS: 10,
    },
    "resnet": {
        "relu": 16384,
        "stage1.block2": 16384,
        "stage2.block1": 8192,
        "stage2.block3": 8192,
        "stage3.block1": 4096,
        "stage3.block3": 4096,
        "pool": 64,
        LOGITS: 10,
    },
    "ir": {
        "prelu": 16384,
        "stage1.unit2": 16384,
        "stage2.unit1": 8192,
        "stage2.unit2": 8192,
        "stage3.unit2": 4096,
        "stage4.unit1": 1024,
        "stage4.unit2": 1024,
        LOGITS: 10,
    },
    "vit": {
        "patches": 5120,
        "blocks.0": 5200,
        "blocks.1": 5200,
        "blocks.2": 5200,
        "blocks.3": 5200,
        LAST_BLOCK: 5200,
        LOGITS: 10,
    },
}
"""Cuts in order, each with its number of features: after an activation, a pool or a block."""


def width_at(network: str, name: str) -> int:
    """Features that cross at a place.

    Raises:
        UnknownName: if the experiments do not cut that network there.
    """
    known = {**PLACES.get(network, {}), **({TOKEN: _WIDTH} if network == "vit" else {})}
    if name not in known:
        raise UnknownName(f"cut of {network}", name, known)
    return known[name]


def partition_at(reference: Reference, name: str) -> Partition:
    """The network in two halves: at a cut by name, at its logits, or at the class token alone.

    The class token is the first 80 values of what crosses after the last block, all that the
    cloud's half reads, so the logits are the same bit for bit.

    Raises:
        UnknownName: if there is no such cut.
    """
    if name == LOGITS:
        return _at_logits(reference.model.network)
    if name == TOKEN:
        return _at_token(reference.traced)
    return reference.traced.split(reference.traced.cut(name))


def cuts_at(reference: Reference, names: Sequence[str]) -> tuple[Cut, ...]:
    """What describes these places: id, kind, depth and layout."""
    return tuple(partition_at(reference, name).cut for name in names)


def _cut(name: str, layout: Layout) -> Cut:
    return Cut(id=name.replace(" ", "-"), name=name, kind=CutKind.OTHER, depth=1.0, layout=layout)


def _at_logits(network: nn.Module) -> Partition:
    layout = Layout((Part(name=LOGITS, shape=(10,)),))
    return Partition(cut=_cut(LOGITS, layout), head=network, release=Identity(), tail=nn.Identity())


def _at_token(traced: Traced) -> Partition:
    whole = traced.split(traced.cut(LAST_BLOCK))
    layout = Layout((Part(name=TOKEN, shape=(_WIDTH,)),))
    return replace(
        whole,
        cut=_cut(TOKEN, layout),
        head=nn.Sequential(whole.head, _First(_WIDTH)),
        tail=nn.Sequential(_Padded(whole.cut.layout.size), whole.tail),
        trainable=False,
    )


class _First(nn.Module):
    """The first values of each row."""

    def __init__(self, count: int) -> None:
        nn.Module.__init__(self)
        self.count = count

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, f) to (n, count)."""
        return z[:, : self.count]


class _Padded(nn.Module):
    """Rows filled up with zeros."""

    def __init__(self, size: int) -> None:
        nn.Module.__init__(self)
        self.size = size

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, f) to (n, size)."""
        return torch.nn.functional.pad(z, (0, self.size - z.shape[1]))


def auxiliary_rows(count: int, size: int, seed: int, order: Tensor) -> Tensor:
    """The `seed`-th disjoint `size` of `count` auxiliary images, in the order drawn.

    Raises:
        BadPlan: if there are not so many disjoint samples.
    """
    if (seed + 1) * size > count:
        raise BadPlan(
            f"{count:,} auxiliary images give {count // size} disjoint samples of {size:,}: use at "
            "most as many seeds"
        )
    return order[seed * size : (seed + 1) * size]
