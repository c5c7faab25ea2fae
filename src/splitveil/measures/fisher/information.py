"""The Bayesian information matrix of a declared source seen through a head and Gaussian noise."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.estimators.jacobian import Head, jacobian_rows
from splitveil.measures.fisher.source import MixtureSource
from splitveil.measures.galleries import NO_GUARANTEE
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.release.base import Release
from splitveil.release.gaussian import ClippedGaussian
from splitveil.release.shaped import ShapedGaussian
from splitveil.rng import Rng

ROWS_FOR_EACH_DIMENSION = 30
_CHUNK = 32
_REACH = 1.959963984540054


@dataclass(frozen=True, eq=False)
class BayesianInformation:
    """M = E_X J_X + J_P of a declared source, with what is needed to judge its sampling error.

    `matrix` (d, d) from all images, `halves` (2, d, d) from even and odd ones; for each image
    `traces` tr(M_i), `pulls` tr(M⁻¹ M_i M⁻¹) and `shares` tr(M⁻¹ M_i), where M_i is its own term.
    `rows` counts gradient rows, `exact` says that every image gave its whole Jacobian.
    """

    matrix: Float64[Tensor, "d d"]
    halves: Float64[Tensor, "2 d d"]
    traces: Float64[Tensor, " n"]
    pulls: Float64[Tensor, " n"]
    shares: Float64[Tensor, " n"]
    rows: int
    exact: bool
    sends: int

    @property
    def enough(self) -> bool:
        """Whether the rows are at least 30 d, the least the matrix form is given for."""
        return self.rows >= ROWS_FOR_EACH_DIMENSION * len(self.matrix)

    def quantity(
        self, form: Callable[[Tensor], float], slopes: Float64[Tensor, " n"], note: str
    ) -> Quantity:
        """`form` of the matrix, a convex function, freed of its bias by halves.

        Few rows push a convex form up: by c / n to first order, hence by 2 c / n on halves, and
        2 form(M) - mean form(M_half) is free of it. Interval: first-order, from each image's slope.
        """
        whole = form(self.matrix)
        half = sum(form(part) for part in self.halves) / 2
        value = max(0.0, min(whole, 2 * whole - half))
        reach = _REACH * float(slopes.std()) / math.sqrt(len(slopes))
        return Quantity(
            value=value,
            low=max(0.0, value - reach),
            high=value + reach,
            unit="mse per value",
            kind=Kind.MODEL,
            n=len(slopes),
            direction=Direction.LOWER,
            assumptions=(
                "holds for images drawn from the declared source, not for others",
                "the noise is fresh and its law is the stated one",
                note,
                f"Jacobians of {len(slopes)} images"
                + (", whole" if self.exact else f", {self.rows // len(slopes)} probes each"),
                f"each image is sent {self.sends} time{'s' if self.sends > 1 else ''}",
            ),
        )


def bayesian_information(
    head: Head,
    source: MixtureSource,
    release: Release,
    rng: Rng,
    *,
    images: int = 256,
    probes: int = 64,
    sends: int = 1,
    dtype: torch.dtype = torch.float32,
) -> BayesianInformation:
    """M = E_X[J_fᵀ J_f] R / s² + J_P for features f = clip(head(x)) behind Gaussian noise s.

    J_P = E[score scoreᵀ] is S⁻¹ for one Gaussian. For a mixture it is averaged over the same images
    where these are at least 30 d, else replaced by its cap sum_k pi_k S_k⁻¹, which only lowers what
    follows. Costs 2 `images` x min(`probes`, features) backward passes and d² memory.

    Args:
        head: from targets (n, *shape) to features (n, f), in eval mode, one image at a time.
        source: the declared law of the images.
        release: Gaussian noise, or post-processing of it.
        rng: stream of images and probes.
        images: draws of the source.
        probes: random probes for each image; at least as many as features give the whole
            Jacobian.
        sends: R, how many times each image is sent with fresh noise.
        dtype: in which the head computes.

    Raises:
        BadData: if gradients are not finite.
        BadPlan: if the release has no density or is not Gaussian, or there are fewer than 4
            images, 1 probe or 1 send.
    """
    if images < 4 or probes < 1 or sends < 1:
        raise BadPlan(
            "the information needs at least 4 images, 1 probe and 1 send, got "
            f"{images}, {probes} and {sends}"
        )
    seen, scale = gaussian_channel(head, release)
    x = source.draw(images, rng)
    d = source.means.shape[1]
    averaged = len(source.weights) > 1 and images >= ROWS_FOR_EACH_DIMENSION * d
    prior = 0 * source.information_cap if averaged else source.information_cap

    def terms() -> Iterator[Float64[Tensor, "p n d"]]:
        for start in range(0, images, _CHUNK):
            part = x[start : start + _CHUNK]
            generator = rng.child("probes", start).torch()
            rows = jacobian_rows(seen, part.to(dtype), generator, probes=probes).double().cpu()
            rows = rows * (math.sqrt(sends) / scale)
            if averaged:
                rows = torch.cat([rows, source.score(part.flatten(1))[None]])
            yield rows

    counts = torch.tensor([(images + 1) // 2, images // 2], dtype=torch.float64)
    sums = torch.zeros(2, d, d, dtype=torch.float64)
    traces = []
    for rows in terms():
        for parity in (0, 1):  # chunks hold an even number of images, so positions keep parity
            some = rows[:, parity::2].flatten(0, 1)
            sums[parity] += some.T @ some
        traces.append(rows.square().sum((0, 2)))
    if not bool(torch.isfinite(sums).all()):
        raise BadData("gradients of the head are NaN or infinite: check the model and its images")
    matrix = sums.sum(0) / images + prior
    with torch.no_grad():
        features = seen(x[:1].to(dtype)).numel()
    count = images * min(probes, features)
    pulls, shares = [torch.zeros(images, dtype=torch.float64) for _ in range(2)]
    if count >= ROWS_FOR_EACH_DIMENSION * d:
        factor = torch.linalg.cholesky(matrix)
        place = 0
        for rows in terms():
            turned = torch.cholesky_solve(rows.flatten(0, 1).T, factor).T.reshape(rows.shape)
            end = place + rows.shape[1]
            pulls[place:end] = turned.square().sum((0, 2))
            shares[place:end] = (turned * rows).sum((0, 2))
            place = end
    return BayesianInformation(
        matrix=matrix,
        halves=sums / counts[:, None, None] + prior,
        traces=torch.cat(traces),
        pulls=pulls,
        shares=shares,
        rows=count,
        exact=probes >= features,
        sends=sends,
    )


def gaussian_channel(head: Head, release: Release) -> tuple[Head, float]:
    """The mean of what is sent as a function of the image, and the noise's deviation.

    Where that differs by value, the mean in units of it, and 1.

    Raises:
        BadPlan: if the noise is not Gaussian.
    """
    noisy = release.dominating()
    if not noisy.has_density:
        raise BadPlan(f"{release!r}: {NO_GUARANTEE}; Fisher information needs Gaussian noise")
    if isinstance(noisy, ShapedGaussian):
        return lambda x: (z := noisy.clip(head(x).flatten(1))) / noisy.sigma.to(z), 1.0
    if not isinstance(noisy, ClippedGaussian):
        raise BadPlan(f"{release!r}: Fisher information is known here for Gaussian noise only")
    if math.isinf(noisy.radius):
        return head, noisy.sigma
    return lambda x: noisy.clip(head(x).flatten(1)), noisy.sigma
