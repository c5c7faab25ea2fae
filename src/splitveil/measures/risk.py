"""How much nearer to an image than the mean image a reconstruction comes, all directions alike."""

import math
from dataclasses import dataclass

import torch
from scipy.special import digamma, gammaln
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.estimators.bootstrap import ratio_interval
from splitveil.estimators.whitening import Whitening, images_in_block
from splitveil.measures.checks import Originals, finite, same_shape
from splitveil.measures.reconstruction import mean_of
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.shapes import PerImage, Targets


@dataclass(frozen=True, kw_only=True)
class LinearCode:
    """What `size` numbers an image would buy if they were its widest principal components.

    `ratio` and `log_ratio` are the risk of a decoder that restores these exactly and guesses the
    mean elsewhere, on the same images; infinite where `size` reaches the directions kept. `used`
    is the attack's share of it, (sum |z|² - |e|²) / (sum of |z|² in the code's directions): 0 for
    the mean image, 1 for the linear code, above 1 for what beats it, below 0 for worse than the
    mean.
    """

    size: int
    ratio: Quantity
    log_ratio: Quantity
    used: Quantity


@dataclass(frozen=True, kw_only=True)
class Risk:
    """Reconstruction risk of one attack: mean of ratios and of their logarithms, and a yardstick.

    Over `directions` whitened directions, which hold the share `retained` of the auxiliary
    images' variance; `rule` says how they were chosen. `code` is None unless a code size was given.
    """

    ratio: Quantity
    log_ratio: Quantity
    directions: int
    retained: float
    rule: str
    code: LinearCode | None


@dataclass(frozen=True, eq=False)
class _Squares:
    """Squared whitened lengths by image: x from the mean, from its reconstruction, in the code."""

    from_mean: Tensor
    from_reconstruction: Tensor
    within_code: Tensor
    beyond_code: Tensor


def risk(
    reconstruction: Targets,
    original: Originals,
    whitening: Whitening,
    rng: Rng,
    *,
    code: int | None = None,
    images_a_block: int | None = None,
) -> Risk:
    """Reconstruction risk R = mean of M(x, mean) / M(x, x̂), and the mean of its logarithm.

    M(a, b) = |W (a - b)| is the Mahalanobis distance within the directions of `whitening`. 1 is
    no better than answering the mean image, below 1 is worse, infinite is exact. With
    `Whitening.fit` directions hold a stated share of the variance; `Whitening.published` gives the
    published R. Two products of all images with the whitening's axes, whatever is asked for.

    A number near 1 can go with recognisable images: all directions weigh alike, so the 100 widest
    of 3,072, exactly restored, give 1.017 (`linear_code_ratio`). Compare with the yardstick, and
    only under one whitening. The mean of ratios is ruled by images that come back almost whole;
    the logarithm, whose exponential is the geometric mean, much less.

    Args:
        reconstruction: what any attack answered.
        original: what it should have been.
        whitening: of auxiliary images, other than the originals.
        rng: stream of the resamples.
        code: how many numbers an image were sent, for the yardstick.
        images_a_block: how many go into one product; by default what fits 256 MB.

    Returns:
        Units: ratio; nat; share for `code.used`. Kind: measured.

    Example:
        >>> import torch
        >>> from splitveil.rng import Rng
        >>> x = torch.rand(50, 1, 2, 2, generator=Rng(0).torch())
        >>> whitening = Whitening.fit(x, retained=1.0)
        >>> mean = whitening.mean.float().reshape(1, 1, 2, 2)
        >>> print(risk(mean.expand_as(x), x, whitening, Rng(0)).ratio)
        1 ratio
        >>> print(risk((x + mean) / 2, x, whitening, Rng(0)).log_ratio)
        0.693 [0.693, 0.693] nat

    Raises:
        BadData: if shapes differ or do not fit the whitening, there are no images, values are not
            finite, or no original differs from the mean where it is asked for.
        BadPlan: if `code` or a block is below 1.

    References:
        Malekzadeh and Gündüz 2022, Vicious classifiers: assessing inference-time data
        reconstruction risk in edge computing.
    """
    if code is not None and code < 1:
        raise BadPlan(f"a code has at least one number an image, got {code}")
    squares = _squares(reconstruction, original, whitening, code or 0, images_a_block)
    because = _assumptions(whitening)
    ratio, log_ratio = _means(
        squares.from_mean,
        squares.from_reconstruction,
        rng.child("risk"),
        (*because, "holds for the attack tried; another may recover more"),
    )
    yardstick = None if code is None else _linear_code(squares, code, rng.child("code"), because)
    return Risk(
        ratio=ratio,
        log_ratio=log_ratio,
        directions=whitening.directions,
        retained=whitening.retained,
        rule=whitening.rule,
        code=yardstick,
    )


def risk_per_image(
    reconstruction: Targets,
    original: Originals,
    whitening: Whitening,
    *,
    images_a_block: int | None = None,
) -> PerImage:
    """M(x, mean) / M(x, x̂) of each image, as in `risk`; 1 where both distances are equal.

    The mean is rounded to the type of the reconstructions, so that the mean image scores exactly 1
    in any of them.

    Returns:
        Float64, at least 0; infinite where a reconstruction is exact in every direction kept.

    Raises:
        BadData: as `risk`.
        BadPlan: if a block is below 1.
    """
    squares = _squares(reconstruction, original, whitening, 0, images_a_block)
    return _ratios(squares.from_mean, squares.from_reconstruction)


def linear_code_ratio(directions: int, code: int) -> Quantity:
    """R_k of normal images: `code` of `directions` restored exactly, the mean answered elsewhere.

        R_k = E (B / (A + B))^-½ = Γ((r-k-1)/2) Γ(r/2) / (Γ((r-k)/2) Γ((r-1)/2)) ≈ √(r / (r-k))

    with A and B chi-square of k and r - k degrees of freedom. Infinite for r - k <= 1.

    Returns:
        Unit: ratio. Kind: model.

    Example:
        >>> print(linear_code_ratio(3072, 100), linear_code_ratio(300, 100))
        1.017 ratio 1.226 ratio

    Raises:
        BadPlan: if there are no directions, or a code is below 0.
    """
    left = _left(directions, code)
    whole = directions / 2
    value = (
        math.exp(
            gammaln((left - 1) / 2)
            - gammaln(left / 2)
            + gammaln(whole)
            - gammaln((directions - 1) / 2)
        )
        if left > 1
        else math.inf
    )
    return Quantity.exact(
        1.0 if code == 0 else value, unit="ratio", kind=Kind.MODEL, assumptions=_NORMAL
    )


def linear_code_log_ratio(directions: int, code: int) -> Quantity:
    """E ln (B / (A + B))^-½ = ½ (ψ(r/2) - ψ((r-k)/2)), the logarithmic twin of the above.

    Returns:
        Unit: nat, infinite for k >= r. Kind: model.

    Example:
        >>> print(linear_code_log_ratio(300, 100))
        0.2036 nat

    Raises:
        BadPlan: as `linear_code_ratio`.
    """
    left = _left(directions, code)
    value = (digamma(directions / 2) - digamma(left / 2)) / 2 if left > 0 else math.inf
    return Quantity.exact(float(value), unit="nat", kind=Kind.MODEL, assumptions=_NORMAL)


_NORMAL = (
    "images are normal, whitened by their own covariance",
    "the code's directions come back exactly, the mean elsewhere",
)


def _left(directions: int, code: int) -> int:
    if directions < 1 or code < 0:
        raise BadPlan(
            f"a linear code needs directions >= 1 and a size >= 0, got {directions}, {code}"
        )
    return max(0, directions - code)


def _squares(
    reconstruction: Tensor, original: Tensor, whitening: Whitening, code: int, block: int | None
) -> _Squares:
    same_shape(reconstruction, original)
    finite(reconstruction, "reconstructions")
    finite(original, "originals")
    if block is not None and block < 1:
        raise BadPlan(f"a block needs at least one image, got {block}")
    size = block or images_in_block(whitening.values)
    mean = whitening.mean.to(reconstruction.dtype).double()
    rows: list[Tensor] = []
    for answers, truth in zip(reconstruction.split(size), original.split(size), strict=True):
        x = truth.detach().flatten(1).double().cpu()
        # broadcasting would hide images of another size
        if x.shape[1] != whitening.values:
            raise BadData(
                f"the whitening was fitted on images of {whitening.values} values, these have "
                f"{x.shape[1]}"
            )
        z = whitening.coordinates(x - mean).square_()
        error = whitening.coordinates(x - answers.detach().flatten(1).double().cpu()).square_()
        lengths = (z.sum(1), error.sum(1), z[:, :code].sum(1), z[:, code:].sum(1))
        rows.append(torch.stack(lengths))
    return _Squares(*torch.cat(rows, 1).unbind())


def _ratios(top: Tensor, bottom: Tensor) -> Tensor:
    """Square roots of the ratios of squares; equal ones, two zeros too, give 1."""
    return torch.where(top == bottom, 1.0, (top / bottom).sqrt())


def _means(
    top: Tensor, bottom: Tensor, rng: Rng, assumptions: tuple[str, ...]
) -> tuple[Quantity, Quantity]:
    ratios = _ratios(top, bottom)
    if bool((ratios == 0).any()) and bool(ratios.isinf().any()):
        raise BadData(
            "one image equals the mean image and another came back exactly: their mean log ratio "
            "does not exist; use risk_per_image"
        )
    ratio = mean_of(
        ratios,
        rng.child("ratio"),
        unit="ratio",
        support=(0.0, math.inf),
        assumptions=("mean of per-image ratios", *assumptions),
    )
    log_ratio = mean_of(
        ratios.log(),
        rng.child("log ratio"),
        unit="nat",
        assumptions=("mean of per-image log ratios", *assumptions),
    )
    return ratio, log_ratio


def _linear_code(
    squares: _Squares, size: int, rng: Rng, assumptions: tuple[str, ...]
) -> LinearCode:
    ratio, log_ratio = _means(squares.from_mean, squares.beyond_code, rng, assumptions)
    return LinearCode(
        size=size, ratio=ratio, log_ratio=log_ratio, used=_used(squares, rng, assumptions)
    )


def _used(squares: _Squares, rng: Rng, assumptions: tuple[str, ...]) -> Quantity:
    gained = (squares.from_mean - squares.from_reconstruction).numpy()
    offered = squares.within_code.numpy()
    if not (offered > 0).any():
        raise BadData(
            "no original differs from the mean image in the code's directions: there is no channel "
            "to use; give other originals"
        )
    value, low, high = float(gained.sum() / offered.sum()), -math.inf, math.inf
    if len(gained) > 1:
        interval = ratio_interval(gained, offered, rng.child("used"))
        value, low, high = interval.value, interval.low, interval.high
    return Quantity(
        value=value,
        low=low,
        high=high,
        unit="share",
        kind=Kind.MEASURED,
        n=len(gained),
        assumptions=(
            "images are independent draws",
            *assumptions,
            "measured against a linear code of the same size",
            "holds for the attack tried; another may recover more",
        ),
    )


def _assumptions(whitening: Whitening) -> tuple[str, ...]:
    few = whitening.images <= whitening.values
    return (
        f"{whitening.directions} of {whitening.values} whitened directions, "
        f"{whitening.retained:.4g} of the variance of {whitening.images} auxiliary images "
        f"({whitening.rule})",
        "the whitening is held fixed in the interval",
        *(("directions the auxiliary images do not span are left out",) if few else ()),
    )
