"""Where in the spectrum an image was rebuilt: its error split into bands that sum to the whole."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float64
from scipy.fft import dctn
from scipy.linalg import eigh
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.measures.checks import Originals, finite, same_shape
from splitveil.measures.reconstruction import mean_of
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.shapes import PerImage, Targets

_CHUNK = 512


@runtime_checkable
class Bands(Protocol):
    """A way to split differences between images into orthogonal parts."""

    def split(self, difference: Targets) -> dict[str, PerImage]:
        """Squared length of each float64 difference's part in each band; they sum to the whole."""
        ...


@dataclass(frozen=True)
class CosineBands:
    """Bands of frequency of the orthonormal cosine transform (DCT-II) of each channel.

    The coefficient (u, v) of an h x w image has frequency max(u / h, v / w), a share of the finest.
    The first band is the channel's mean alone; the others end at each of `edges` and at 1. Needs
    no auxiliary data; says nothing of what is typical of the images.

    Raises:
        BadPlan: if edges do not rise within (0, 1).
    """

    edges: tuple[float, ...] = (0.125, 0.25, 0.5)

    def __post_init__(self) -> None:
        _rising((0.0, *self.edges, 1.0), "frequencies in (0, 1)")

    def split(self, difference: Targets) -> dict[str, PerImage]:
        """Squared length in each band, keys "mean", "0-0.125", ... "0.5-1".

        Raises:
            BadData: if these are not images of two spatial axes.
        """
        if difference.ndim < 3:
            raise BadData(
                f"cosine bands need images, got targets of shape {tuple(difference.shape[1:])}: "
                "use principal bands"
            )
        h, w = difference.shape[-2:]
        frequency = np.maximum(np.arange(h)[:, None] / h, np.arange(w)[None, :] / w)
        ends = (0.0, *self.edges, 1.0)
        band = torch.from_numpy(np.searchsorted(np.array(ends), frequency.ravel()))
        energies = torch.zeros(len(difference), len(ends), dtype=torch.float64)
        for rows, part in zip(energies.split(_CHUNK), difference.split(_CHUNK), strict=True):
            squares = np.square(dctn(part.double().numpy(), axes=(-2, -1), norm="ortho"))
            summed = squares.reshape(len(part), -1, h * w).sum(1)
            rows.index_add_(1, band, torch.from_numpy(summed))
        names = ["mean", *(f"{a:g}-{b:g}" for a, b in pairwise(ends))]
        return dict(zip(names, energies.unbind(1), strict=True))


@dataclass(frozen=True, eq=False)
class PrincipalBands:
    """Bands of principal components of auxiliary images, the widest first, and the rest.

    Make them with `fit`. `basis` has orthonormal columns; `edges` are the ranks at which bands end.
    """

    basis: Float64[Tensor, "d k"]
    edges: tuple[int, ...]

    @staticmethod
    def fit(auxiliary: Targets, *, edges: tuple[int, ...] = (8, 32, 128, 512)) -> "PrincipalBands":
        """Principal components of `auxiliary`, about its mean, up to rank edges[-1].

        Edges beyond the number of components, min(images - 1, values), are left out. Cost: one
        symmetric eigenproblem of the smaller of images and values.

        Raises:
            BadData: if there are fewer than two images, values are not finite, or all are equal.
            BadPlan: if edges do not rise from 1 or more.
        """
        _rising((0, *edges), "ranks of 1 and more")
        if len(auxiliary) < 2:
            raise BadData(f"principal bands need at least 2 auxiliary images, got {len(auxiliary)}")
        finite(auxiliary, "auxiliary images")
        flat = auxiliary.detach().flatten(1).double().cpu()
        centred = (flat - flat.mean(0)).numpy()
        n, d = centred.shape
        gram = centred @ centred.T if n < d else centred.T @ centred
        count = min(edges[-1], n - 1, d)
        size = len(gram)
        variances, vectors = eigh(gram, subset_by_index=(size - count, size - 1))
        there = variances > max(variances[-1], 0.0) * size * np.finfo(np.float64).eps
        if not there.any():
            raise BadData("the auxiliary images are all equal: they have no principal components")
        vectors = vectors[:, there][:, ::-1]
        basis = torch.from_numpy(np.ascontiguousarray(centred.T @ vectors if n < d else vectors))
        rank = basis.shape[1]
        kept = (*(edge for edge in edges if edge < rank), rank)
        return PrincipalBands(torch.linalg.qr(basis).Q, kept)

    def split(self, difference: Targets) -> dict[str, PerImage]:
        """Squared length in each band, keys "1-8", "9-32", ... "rest".

        Raises:
            BadData: if targets have another number of values than the auxiliary ones.
        """
        flat = difference.flatten(1).double()
        if flat.shape[1] != len(self.basis):
            raise BadData(
                f"the bands were fitted on targets of {len(self.basis)} values, these have "
                f"{flat.shape[1]}"
            )
        inside = flat @ self.basis
        starts = (0, *self.edges)
        energies = {
            f"{a + 1}-{b}": inside[:, a:b].square().sum(1)
            for a, b in zip(starts, self.edges, strict=False)
        }
        # measured on what is left rather than by subtraction, which could fall below zero
        energies["rest"] = (flat - inside @ self.basis.T).square().sum(1)
        return energies


def band_errors(reconstruction: Targets, original: Originals, bands: Bands) -> dict[str, PerImage]:
    """Squared error of each image in each band, per value of the image: bands sum to its mse.

    Hand one band's errors, and those of the floor in the same band, to `leakage` for the share of
    that band that was recovered.

    Raises:
        BadData: as `mse_per_image`, or if the bands do not fit these targets.
    """
    same_shape(reconstruction, original)
    finite(reconstruction, "reconstructions")
    finite(original, "originals")
    difference = reconstruction.detach().double().cpu() - original.detach().double().cpu()
    values = math.prod(difference.shape[1:])
    return {name: energy / values for name, energy in bands.split(difference).items()}


def band_mse(
    reconstruction: Targets, original: Originals, bands: Bands, rng: Rng
) -> dict[str, Quantity]:
    """Mean over images of `band_errors`, band by band: the values sum to the mse.

    Unit: mse per value of the whole image, so that a band with few coefficients weighs little.
    Kind: measured. A small error in a band that holds little of the images is no achievement:
    compare it with the floor's.

    Example:
        >>> import torch
        >>> from splitveil.rng import Rng
        >>> x = torch.zeros(3, 1, 8, 8)
        >>> bands = band_mse(x + 0.1, x, CosineBands(), Rng(0))
        >>> print(bands["mean"], bands["0.5-1"].value < 1e-12)
        0.01 mse per value True

    Raises:
        BadData: as `band_errors`.
    """
    errors = band_errors(reconstruction, original, bands)
    return {
        name: mean_of(
            values,
            rng.child("band", name),
            unit="mse per value",
            support=(0.0, math.inf),
            assumptions=(f"band {name} of {type(bands).__name__}",),
        )
        for name, values in errors.items()
    }


def _rising(ends: Sequence[float | int], what: str) -> None:
    if len(ends) < 2 or any(b <= a for a, b in pairwise(ends)):
        raise BadPlan(f"edges must be rising {what}, got {ends[1:]}")
