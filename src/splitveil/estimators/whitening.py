"""Coordinates in which images vary alike in every direction that is kept."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64
from scipy.linalg import eigh
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.shapes import Features, Targets

_BLOCK_BYTES = 1 << 28
_TIE = 1e-9


@dataclass(frozen=True, eq=False)
class Whitening:
    """z = (x - mean) @ axes, of covariance 1 on the images it was fitted on; float64 throughout.

    With the covariance U diag(v) Uᵀ (divisor n - 1), `axes` is U_r diag(v_r)^-½ for the r widest
    directions, widest first, so that |z|² is the squared Mahalanobis distance from the mean within
    them. `variances` are v_r, `total` is the trace of the whole covariance, `rule` says in words
    how r was chosen. Make it with `fit` or `published`.

    Every kept direction weighs the same, however little of an image it makes up. With n not far
    above r the narrow ones look narrower than they are, and other images vary more than 1 in them.
    """

    mean: Float64[Tensor, " d"] = field(repr=False)
    axes: Float64[Tensor, "d r"] = field(repr=False)
    variances: Float64[Tensor, " r"] = field(repr=False)
    total: float
    images: int
    rule: str

    @property
    def directions(self) -> int:
        """How many are kept, r."""
        return len(self.variances)

    @property
    def values(self) -> int:
        """Values of an image, d."""
        return len(self.mean)

    @property
    def retained(self) -> float:
        """Share of the variance that lies in the directions kept."""
        return min(1.0, float(self.variances.sum()) / self.total)

    @staticmethod
    def fit(
        auxiliary: Targets, *, retained: float = 0.99, images_a_block: int | None = None
    ) -> "Whitening":
        """The fewest directions that hold at least `retained` of the variance.

        Directions as wide as the last, to 1e-9, are kept with it; those of rounding alone never.
        Cost: one product of the smaller of images and values squared with the larger, and one
        eigendecomposition of that size.

        Args:
            auxiliary: n images of d values. With n <= d at most n - 1 directions exist.
            retained: share of the variance, in (0, 1].
            images_a_block: how many go into one product; by default what fits 256 MB.

        Raises:
            BadData: if there are fewer than two images, values are not finite, or all are equal.
            BadPlan: if `retained` is not in (0, 1], or a block is empty.
        """
        if not 0 < retained <= 1:
            raise BadPlan(f"the retained share of variance must lie in (0, 1], got {retained}")

        def enough(variances: Tensor, values: int) -> int:
            floor = float(variances[0]) * values * np.finfo(np.float64).eps
            sums = variances[variances > floor].cumsum(0)
            last = min(int(torch.searchsorted(sums, retained * sums[-1])), len(sums) - 1)
            tied = variances[: len(sums)] >= (1 - _TIE) * variances[last]
            return int(tied.sum())

        rule = f"{retained:.6g} of the variance"
        return _whitening(auxiliary, enough, rule, images_a_block)

    @staticmethod
    def published(
        auxiliary: Targets,
        *,
        precision: Literal["float32", "float64"] = "float32",
        images_a_block: int | None = None,
    ) -> "Whitening":
        """The directions that a pseudo-inverse in `precision` keeps: wider than d eps of the top.

        This is the form of Malekzadeh and Gündüz 2022, whose cut comes from the arithmetic: with
        3,072 values 3.7e-4 of the widest in float32, 6.8e-13 in float64. The two give different
        numbers for the same images; here either cut is made on float64 variances.

        Args:
            auxiliary: as `fit`.
            precision: of the pseudo-inverse that is meant.
            images_a_block: as `fit`.

        Raises:
            BadData: as `fit`.
            BadPlan: if there is no such precision, or a block is empty.
        """
        if precision not in ("float32", "float64"):
            raise BadPlan(f"the precision must be float32 or float64, got '{precision}'")

        def above(variances: Tensor, values: int) -> int:
            cut = values * float(np.finfo(precision).eps)
            return int((variances > cut * variances[0]).sum())

        rule = f"published, pseudo-inverse in {precision}"
        return _whitening(auxiliary, above, rule, images_a_block)

    def coordinates(self, difference: Features) -> Float64[Tensor, "n r"]:
        """Differences of flat images (n, d) in the kept directions, each in standard deviations.

        Raises:
            BadData: if they have another number of values.
        """
        if difference.shape[1] != self.values:
            raise BadData(
                f"the whitening was fitted on images of {self.values} values, these have "
                f"{difference.shape[1]}"
            )
        return difference.double() @ self.axes


def images_in_block(values: int) -> int:
    """How many images of so many values fit 256 MB in float64, at least one."""
    return max(1, _BLOCK_BYTES // (8 * values))


def _whitening(
    auxiliary: Tensor, choose: Callable[[Tensor, int], int], rule: str, block: int | None
) -> Whitening:
    flat = _checked(auxiliary)
    n, d = flat.shape
    if block is not None and block < 1:
        raise BadPlan(f"a block needs at least one image, got {block}")
    parts = flat.split(block or images_in_block(d))
    mean = torch.zeros(d, dtype=torch.float64)
    for part in parts:
        mean += part.double().cpu().sum(0)
    mean /= n
    few = n <= d
    if few:
        centred = flat.double().cpu() - mean
        gram = centred @ centred.T
    else:
        gram = torch.zeros(d, d, dtype=torch.float64)
        for part in parts:
            centred = part.double().cpu() - mean
            gram.addmm_(centred.T, centred)
    trace = float(gram.diagonal().sum())
    if not 0 < trace < math.inf:
        raise BadData(
            f"the auxiliary images' squared deviations sum to {trace} in float64: "
            "rescale the images"
        )
    found, vectors = eigh(gram.numpy(), overwrite_a=True, check_finite=False, driver="evr")
    sums = torch.from_numpy(found[::-1].copy()).clamp_min_(0)
    kept = choose(sums / (n - 1), d)
    basis = torch.from_numpy(vectors[:, ::-1][:, :kept].copy())
    if few:
        basis = (centred.T @ basis) / sums[:kept].sqrt()
    variances = sums[:kept] / (n - 1)
    return Whitening(
        mean=mean,
        axes=basis / variances.sqrt(),
        variances=variances,
        total=float(sums.sum()) / (n - 1),
        images=n,
        rule=rule,
    )


def _checked(auxiliary: Tensor) -> Tensor:
    """Auxiliary images, flat, if they vary.

    Raises:
        BadData: otherwise.
    """
    if len(auxiliary) < 2 or not auxiliary.numel():
        raise BadData(
            f"whitening needs at least 2 auxiliary images, got shape {tuple(auxiliary.shape)}"
        )
    flat = auxiliary.detach().flatten(1)
    bad = int((~torch.isfinite(flat)).sum())
    if bad:
        raise BadData(f"auxiliary images hold {bad} values that are NaN or infinite: mend them")
    if bool((flat == flat[0]).all()):
        raise BadData(
            "the auxiliary images are all equal: they vary in no direction; give different ones"
        )
    return flat
