"""What the search minimises: misfit of what was sent, plus what is known of images."""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from splitveil.attacks.memory import halving
from splitveil.attacks.optimise.coarse_to_fine import Scale
from splitveil.attacks.optimise.fidelity import Fidelity
from splitveil.attacks.optimise.gaussian_prior import GaussianPrior
from splitveil.attacks.optimise.minimise import Function
from splitveil.attacks.optimise.total_variation import total_variation
from splitveil.attacks.slope import slope
from splitveil.errors import BadInput
from splitveil.nets import evaluating

_FITTED = 1e-6


@dataclass(frozen=True, eq=False)
class Problems:
    """The problems of a search, one a row: which image, and how much each prior weighs.

    `images` (b,) positions in the observation, `rows` (b,) label rows, `variation` (b,) and
    `gaussian` (b,) weights.
    """

    images: Tensor
    rows: Tensor
    variation: Tensor
    gaussian: Tensor

    def take(self, index: Tensor) -> "Problems":
        """Some of them."""
        return Problems(
            self.images[index], self.rows[index], self.variation[index], self.gaussian[index]
        )


@dataclass(frozen=True, eq=False)
class Objective:
    """D(f(x), z) + α TV(x) + β P(x) / features, for targets x of `shape`.

    D is the fidelity; TV only of images; P the Gaussian prior, in nats, if there is one. `dtype` is
    what the head computes in, and so the type of x. Fewer rows than `least` are repeated: one row
    alone takes other kernels than several, whose last bits differ, and a search that passes kinks
    and ties makes much of them.
    """

    head: nn.Module
    fidelity: Fidelity
    prior: GaussianPrior | None
    shape: tuple[int, ...]
    dtype: torch.dtype
    least: int = 2

    def function(self, problems: Problems, scale: Scale) -> Function:
        """Values and gradients of problems at a scale, to be minimised."""

        def evaluate(u: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
            n = len(u)
            if 0 < n < self.least:
                u, index = u.repeat(self.least, 1), index.repeat(self.least)
            with torch.enable_grad():
                u = u.detach().requires_grad_()
                value = self(scale.up(u), problems.take(index))
                (gradient,) = torch.autograd.grad(value.sum(), u)
            return value[:n].detach(), gradient[:n]

        return evaluate

    def __call__(self, x: Tensor, problems: Problems) -> Tensor:
        """The objective of targets x (b, *shape): (b,) float64, differentiable."""
        z = self.head(x)
        value = self.fidelity(z, problems.images).double()
        if len(self.shape) == 3:
            value = value + problems.variation * total_variation(x)
        if self.prior is not None:
            # float64, as the last bits of a matrix product follow the number of its rows
            cost = self.prior(x.flatten(1).double(), problems.rows) / z.shape[1]
            value = value + problems.gaussian * cost
        return value

    def check(self, x: Tensor, images: Tensor) -> None:
        """Refuse a head whose features pass no gradient back to targets x (b, d).

        Raises:
            BadInput: if they are detached, or the gradient is nowhere finite, or nowhere different
                from zero where features do not fit.
            BudgetExceeded: if memory gives out with one of them at a time.
        """
        if not len(x):
            return
        gradient, misfit = halving(lambda size: self._slopes(x, images, size), len(x))
        if not gradient.isfinite().all(1).any():
            raise BadInput(
                "the head's gradient is NaN or infinite for every image: check its activations "
                "and weights, or use a decoder or a ridge attack at this cut"
            )
        if not gradient.any() and bool((misfit > _FITTED).any()):
            raise BadInput(
                "the head's gradient is zero everywhere, as of rounding or sign functions: use a "
                "decoder or a ridge attack at this cut"
            )

    def _slopes(self, x: Tensor, images: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Gradients of the misfit (b, d) and the misfit (b,), `size` targets at a time."""
        gradients, misfits = [], []
        with torch.enable_grad():
            for part, which in zip(x.split(size), images.split(size), strict=True):
                target = in_range(part.detach().to(self.dtype).unflatten(1, self.shape))
                misfit = self.fidelity(self.head(target.requires_grad_()), which)
                gradients.append(slope(misfit.sum(), target).flatten(1))
                misfits.append(misfit.detach())
        return torch.cat(gradients), torch.cat(misfits)


def in_range(x: Tensor) -> Tensor:
    """Images (b, c, h, w) clamped to [0, 1], other targets as they are."""
    return x.clamp(0, 1) if x.ndim == 4 else x


def doubled(head: nn.Module, example: Tensor) -> tuple[nn.Module, torch.dtype]:
    """A copy of the head in float64, or the head itself where it computes in no other type.

    In float64 an image's gradient does not depend on its companions, in bits on the CPU; and
    curvature is a small difference of gradients.
    """
    copy = deepcopy(head).double()
    try:
        with evaluating(copy):
            usable = copy(example.double()).dtype is torch.float64
    except (RuntimeError, TypeError):
        usable = False
    return (copy, torch.float64) if usable else (head, torch.float32)
