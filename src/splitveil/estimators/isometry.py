"""Few coordinates in which a set of vectors keeps all its distances."""

import torch
from jaxtyping import Float64
from torch import Tensor

from splitveil.shapes import Features


def coordinates(z: Features) -> Float64[Tensor, "n r"]:
    """Rows with the same mutual distances as those of z, in at most n - 1 dimensions.

    Noise that is the same in every direction tells no more about which row was sent than these
    coordinates do: the directions left out hold nothing that differs between rows. From the
    eigenvectors of the centred Gram matrix, so time grows with n² times the number of features.
    """
    offset = z.double() - z.double().mean(0)
    if offset.shape[1] <= len(z):
        return offset
    values, vectors = torch.linalg.eigh(offset @ offset.T)
    kept = values > values[-1].clamp_min(0) * len(z) * torch.finfo(torch.float64).eps
    return vectors[:, kept] * values[kept].sqrt()
