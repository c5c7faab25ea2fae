"""Features confined to a ball, which is what bounds how far apart two images can be."""

import torch
from jaxtyping import Float
from torch import Tensor

from splitveil.shapes import Features


def into_ball(z: Features, centre: Float[Tensor, " f"], radius: float, *, order: int) -> Features:
    """C + (z - c) min(1, B / |z - c|) in the norm of that order; rows inside stay as they are."""
    centre = centre.to(z.device, z.dtype)
    offset = z - centre
    norm = torch.linalg.vector_norm(offset, order, dim=1, keepdim=True, dtype=torch.float64)
    shrink = (radius / norm.clamp_min(torch.finfo(torch.float64).tiny)).clamp_max(1.0)
    return torch.where(norm > radius, centre + offset * shrink.to(z.dtype), z)
