"""The gradient that a head passes back to its input, if it passes any."""

import torch
from torch import Tensor

from splitveil.errors import BadInput


def slope(value: Tensor, x: Tensor) -> Tensor:
    """The gradient of a sum over images with respect to their targets `x`, of the shape of `x`.

    Raises:
        BadInput: if the value does not depend on x by anything torch can follow.
    """
    found = torch.autograd.grad(value, x, allow_unused=True)[0] if value.requires_grad else None
    if found is None:
        raise BadInput(
            "the head passes no gradient to its input: it is detached or runs outside torch; use "
            "a decoder or a ridge attack at this cut"
        )
    return found
