"""A network with its normalisation, output choice and class order inside: pixels to logits."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from splitveil.errors import BadModel


class PixelModel(nn.Module):
    """Logits of `network((x - mean) / std)` for images x in [0, 1].

    Attackers work in pixels, so normalisation belongs to the device's half. torch.fx traces it.

    Args:
        network: maps normalised images to outputs.
        mean: one value a channel, or one for all.
        std: as `mean`, positive.
        output: key or position of the logits where the network gives a mapping or a sequence.
        order: for each class of the data, the position of its logit in the network's output.

    Raises:
        BadModel: if mean and std differ in length or a standard deviation is not positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        output: str | int | None = None,
        order: Sequence[int] | None = None,
    ) -> None:
        nn.Module.__init__(self)
        if len(mean) != len(std) or not mean:
            raise BadModel(
                f"{len(mean)} means and {len(std)} standard deviations: give one of each for every "
                "channel"
            )
        if not all(value > 0 for value in std):
            raise BadModel(f"standard deviations must be positive, got {list(std)}")
        self.network = network
        self.output = output
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, -1, 1, 1))
        self.register_buffer("order", None if order is None else torch.tensor(list(order)))

    # Any, not Tensor: under torch.fx both are proxies, which a run-time type check would refuse
    def forward(self, x: Any) -> Any:
        """Map images (n, c, h, w) in [0, 1] to logits (n, k)."""
        logits = _select(self.network((x - self.mean) / self.std), self.output)
        return logits if self.order is None else logits[:, self.order]


def _select(result: Any, output: str | int | None) -> Any:
    """The logits among a network's results.

    Raises:
        BadModel: if there are several results and none is named, or the one named is not there.
    """
    if output is None:
        if isinstance(result, Mapping):
            raise BadModel(
                f"the model gives a mapping with keys {', '.join(map(str, result))}: choose the "
                "logits with output=KEY"
            )
        if isinstance(result, (tuple, list)):
            raise BadModel(
                f"the model gives {len(result)} results: choose the logits with output=POSITION "
                f"(0 to {len(result) - 1})"
            )
        return result
    if isinstance(result, Tensor):
        raise BadModel(f"the model gives one tensor, so output={output!r} makes no sense: drop it")
    try:
        return result[output]
    except (KeyError, IndexError, TypeError) as error:
        known = (
            f"keys {', '.join(map(str, result))}"
            if isinstance(result, Mapping)
            else f"{len(result)} results"
        )
        raise BadModel(f"output={output!r} is not there: the model gives {known}") from error
