"""How far the head's answer to an image is from what was sent, and which way is downhill."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from splitveil.attacks.slope import slope
from splitveil.attacks.standard import Standard
from splitveil.nets import evaluating


@dataclass(frozen=True, eq=False)
class Misfit:
    """J(x) = ½ mean |S f(x) - S z|², S scaling each channel, or value, to variance 1.

    Images do not couple: J is one number an image, and the head runs in evaluation mode.
    """

    head: nn.Module
    standard: Standard

    def __call__(self, x: Tensor, scaled: Tensor) -> tuple[Tensor, Tensor]:
        """J (n,) and its gradient (n, *shape) at targets x, for features already scaled.

        Raises:
            BadInput: if the head's answer does not depend on x by anything torch can follow.
        """
        with evaluating(self.head), torch.enable_grad():
            free = x.detach().requires_grad_()
            apart = self.standard(self.head(free).float()) - scaled
            values = 0.5 * apart.flatten(1).square().mean(1)
            found = slope(values.sum(), free)
        return values.detach(), found.detach()
