"""A learned solver: a network that is shown, at each step, which way the misfit falls."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from splitveil.attacks.decoder import residual_inverter
from splitveil.attacks.groundwork import Groundwork
from splitveil.attacks.inverse_network import InverseNetwork
from splitveil.attacks.misfit import Misfit
from splitveil.errors import BadPlan, KnowledgeMissing
from splitveil.nets.ends import Ends
from splitveil.nets.unrolled import UnrolledInverter
from splitveil.threat import QueryFree, WhiteBox

_PROBED = 256


@dataclass(frozen=True, kw_only=True)
class Unrolled(InverseNetwork):
    """A few learned steps of the inverse problem, x_{k+1} = x_k + U_k(z, x_k, ∇J(x_k), y).

    J(x) = ½ mean |S(f(x) - z)|² with features scaled by channel; x_0 is the better ridge, and each
    U_k a small residual network. Slopes enter through asinh, in units of their size at x_0. They
    count as constants in training, so no second derivative of the head is needed. Trained as
    `Decoder`, by the error of the last step. Under a random release J compares with the noisy z,
    and the networks learn how far to trust it.

    The slope tells what a plain decoder must learn: what in z the present answer does not explain.
    Where the head's slope vanishes or is wrong (quantised heads) it says nothing, and this is a
    decoder of `steps` times the depth.

    Knowledge: white-box. Cost: the ridges, then each epoch `steps` times the head forward and
    backward and a residual network of `width` and `depth`, for every auxiliary image.
    """

    requires: ClassVar[type[QueryFree]] = WhiteBox
    reference: ClassVar[str] = "learned gradient descent, Adler & Oktem 2017"

    steps: int = 4
    width: int = 32
    depth: int = 1

    def __post_init__(self) -> None:
        if self.width < 8 or self.width % 8 or self.depth < 1 or self.steps < 1:
            raise BadPlan(f"width must be a multiple of 8, depth and steps at least 1: {self}")
        InverseNetwork.__post_init__(self)

    def network(self, ends: Ends) -> nn.Module:
        """The network of one step."""
        return residual_inverter(ends, width=self.width, depth=self.depth)

    def assembled(self, ends: Ends, laid: Groundwork, knowledge: QueryFree) -> nn.Module:
        if not isinstance(knowledge, WhiteBox):
            raise KnowledgeMissing("Unrolled needs WhiteBox knowledge: it follows the head's slope")
        more = replace(ends, guesses=ends.guesses + 2)
        misfit = Misfit(knowledge.head, laid.standard)
        centre, scale, shape = laid.guesses.centre, laid.scale, laid.found.shape

        def steepness(x: Tensor, z: Tensor) -> Tensor:
            return misfit(x.clamp(0, 1) if ends.is_image else x, z)[1]

        some = laid.found.take(torch.arange(min(_PROBED, len(laid.found.x))))
        start = laid.guessed[: len(some.x), 0].unflatten(1, shape)
        size = float(steepness(start, laid.standard(some.z)).square().mean().sqrt())

        def slope(moved: Tensor, z: Tensor, rows: Tensor) -> Tensor:
            middle = centre(rows).reshape(-1, *shape)
            x = middle + scale * moved.reshape(middle.shape)
            found = steepness(x.float(), z.float()) / max(size, 1e-12)
            return found.asinh().reshape(moved.shape).to(moved.dtype)

        return UnrolledInverter(
            [self.network(more) for _ in range(self.steps)], slope, ends.target[0]
        )
