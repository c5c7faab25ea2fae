"""What the network answers, as channels that are attacked beside the cuts.

Wherever a network is cut, its answer goes back to the device or into a log. Attackers who see no
more than that see a channel: the class scores as they are, or the probabilities behind a softmax.
"""

from dataclasses import asdict, dataclass
from typing import Any

from splitveil.attacks import Decoder, LogScores, NearestFeatures, Ridge
from splitveil.attacks.base import Attack
from splitveil.partition.types import Cut
from splitveil.release import Identity, Softmax

SCORES = "logits"
"""The name of an output that is one vector of class scores an image."""

_FIRST: tuple[Attack, ...] = (
    NearestFeatures(),
    Ridge(),
    Decoder(epochs=8, width=16, depth=1),
)
"""Attacks that cost seconds on a vector of class scores."""


@dataclass(frozen=True)
class Channel:
    """An output under one release; `attacks` are the recipes that every audit runs there."""

    name: str
    cut: Cut
    release: str
    attacks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data, as the manifest stores it."""
        return {"name": self.name, "release": self.release, "cut": asdict(self.cut)}


def channels(output: Cut | None) -> tuple[Channel, ...]:
    """The channels of a network's output, none where it cannot be packed.

    Class scores have two, themselves and their softmax, which is attacked on its logarithm; any
    other output has one.
    """
    if output is None:
        return ()
    undone = tuple(repr(LogScores(attack=attack)) for attack in _FIRST)
    plain = undone if output.name == "softmax" else tuple(map(repr, _FIRST))
    found = [Channel(output.name, output, repr(Identity()), plain)]
    if output.name == SCORES:
        found.append(Channel("softmax", output, repr(Softmax()), undone))
    return tuple(found)
