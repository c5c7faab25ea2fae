"""Few coordinates in which a set of vectors keeps all its distances."""

import torch
from jaxtyping import Float64
from torch import Tensor

from splitveil.shapes import Features

_COLUMNS = 2048


def coordinates(z: Features) -> Float64[Tensor, "n r"]:
    """Rows with the same mutual distances as those of z, in at most n - 1 dimensions.

    Noise that is the same in every direction tells no more about which row was sent than these
    coordinates do: the directions left out hold nothing that differs between rows. From the
    eigenvectors of the centred Gram matrix, so time grows with n² times the number of features.
    """
    if z.shape[1] <= len(z):
        return _centred(z)
    gram = z.new_zeros(len(z), len(z), dtype=torch.float64)
    for columns in z.split(_COLUMNS, dim=1):
        offset = _centred(columns)
        gram.addmm_(offset, offset.T)
    values, vectors = torch.linalg.eigh(gram)
    kept = values > values[-1].clamp_min(0) * len(z) * torch.finfo(torch.float64).eps
    return vectors[:, kept] * values[kept].sqrt()


def _centred(z: Tensor) -> Tensor:
    wide = z.double()
    return wide - wide.mean(0)
