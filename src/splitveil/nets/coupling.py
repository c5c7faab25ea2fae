"""A density by affine coupling: an invertible network whose volume change is a sum."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splitveil.errors import BadPlan

_STRETCH = 2.0


class Coupling(nn.Module):
    """One half of the values moved and stretched by a function of the other: undone exactly.

    u = (a, b) -> (a, (b - t(a)) exp(-s(a))) with |s| <= 2; the identity at the start.
    """

    kept: Tensor
    moved: Tensor

    def __init__(self, kept: Tensor, moved: Tensor, width: int) -> None:
        nn.Module.__init__(self)
        self.register_buffer("kept", kept)
        self.register_buffer("moved", moved)
        self.network = nn.Sequential(
            nn.Linear(len(kept), width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 2 * len(moved)),
        )
        with torch.no_grad():
            for parameter in self.network[-1].parameters():
                parameter.zero_()

    def forward(self, u: Float[Tensor, "n f"]) -> tuple[Tensor, Tensor]:
        """The recoded rows and the log volume change of each."""
        shift, stretch = self.network(u[:, self.kept]).chunk(2, 1)
        stretch = _STRETCH * torch.tanh(stretch / _STRETCH)
        out = u.clone()
        out[:, self.moved] = (u[:, self.moved] - shift) * torch.exp(-stretch)
        return out, -stretch.sum(1)


class CouplingFlow(nn.Module):
    """log p(z) = log N(g(z); 0, I) + log |det g'(z)| with g a stack of couplings (RealNVP).

    Values are centred and scaled by `mean` and `scale` (f) first, and halves change places from
    layer to layer in a random order. At the start it is that diagonal Gaussian. It is a normalised
    density whatever its weights.

    References:
        Dinh, Sohl-Dickstein and Bengio 2017.

    Raises:
        BadPlan: if there are fewer than 2 values, no layers, or no width.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, mean: Float[Tensor, " f"], scale: Float[Tensor, " f"], *, layers: int, width: int
    ) -> None:
        if len(mean) < 2 or layers < 1 or width < 1:
            raise BadPlan(
                f"couplings need at least 2 values, 1 layer and a width, got {len(mean)}, "
                f"{layers} and {width}"
            )
        nn.Module.__init__(self)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        half = len(mean) // 2
        parts: list[nn.Module] = []
        for layer in range(layers):
            if layer % 2 == 0:
                order = torch.randperm(len(mean))
                halves = (order[:half], order[half:])
            parts.append(Coupling(halves[layer % 2], halves[1 - layer % 2], width))
        self.layers = nn.ModuleList(parts)

    def forward(self, z: Float[Tensor, "n f"]) -> Float[Tensor, " n"]:
        """Log density in nats, one value a row."""
        u = (z - self.mean) / self.scale
        volume = -self.scale.log().sum() - 0.5 * u.shape[1] * math.log(2 * math.pi)
        total = volume.expand(len(u))
        for layer in self.layers:
            u, change = layer(u)
            total = total + change
        return total - 0.5 * u.square().sum(1)
