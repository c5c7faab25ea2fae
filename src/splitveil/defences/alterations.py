"""What components change of the network itself: before training, and once it is trained."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True, eq=False, kw_only=True)
class Beginning:
    """The network that training starts from in place of the source, in eval.

    `changes` describe what of its structure differs from the source, for
    `splitveil.models.grafts.apply_grafts`.
    """

    network: nn.Module
    changes: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Reduction:
    """What is taken out of the network once training made it needless.

    `layers` are the modules that change, by name. `attach(pipeline, epochs)` is called once before
    training; whatever outlives a kill lies in buffers of the part's `modules`. `apply(network)`
    changes a network or its head in place, and describes that for
    `splitveil.models.grafts.apply_grafts`. Training goes to the end and the last epoch is kept.
    """

    layers: tuple[str, ...]
    attach: Callable[[nn.Module, int], None]
    apply: Callable[[nn.Module], list[dict[str, Any]]]
