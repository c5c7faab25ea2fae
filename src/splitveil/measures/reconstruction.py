"""How far a reconstruction is from its original, image by image and on average."""

import math

import torch
from torch import Tensor

from splitveil.errors import BadData
from splitveil.estimators.bootstrap import mean_interval
from splitveil.measures.checks import Originals, finite, same_shape
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.shapes import Images, PerImage, Targets

_SSIM_WINDOW = 11
_SSIM_BORDER = _SSIM_WINDOW // 2
_CHUNK = 256


def mse_per_image(reconstruction: Targets, original: Originals) -> PerImage:
    """Mean squared error of each image: sum over its values of (x̂ - x)² / values.

    Returns:
        Float64, in squared input units per value, channels averaged (never summed).

    Raises:
        BadData: if shapes differ, the batch is empty, or values are not finite.
    """
    same_shape(reconstruction, original)
    finite(reconstruction, "reconstructions")
    finite(original, "originals")
    difference = (reconstruction - original).detach().flatten(1)
    return difference.square().mean(1, dtype=torch.float64).cpu()


def psnr_per_image(reconstruction: Targets, original: Originals) -> PerImage:
    """Peak signal-to-noise ratio of each image, -10 log10(mse), for values in [0, 1].

    Returns:
        Float64, in dB; infinite where a reconstruction equals its original.

    Raises:
        BadData: as `mse_per_image`.
    """
    return -10 * torch.log10(mse_per_image(reconstruction, original))


def ssim_per_image(reconstruction: Images, original: Originals) -> PerImage:
    """Structural similarity of each image (Wang et al. 2004): 11x11 Gaussian window, sd 1.5.

    Returns:
        Float64 in [-1, 1], for values in [0, 1], channels averaged; only windows that lie wholly
        inside the image count, as in scikit-image.

    Raises:
        BadData: as `mse_per_image`, or if a side is shorter than the window.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    same_shape(reconstruction, original)
    finite(reconstruction, "reconstructions")
    finite(original, "originals")
    if min(original.shape[-2:]) < _SSIM_WINDOW:
        raise BadData(
            f"SSIM needs sides of at least {_SSIM_WINDOW} pixels, got "
            f"{original.shape[-2]}x{original.shape[-1]}: use mse or psnr"
        )
    parts: list[Tensor] = []
    for x, y in zip(reconstruction.split(_CHUNK), original.split(_CHUNK), strict=True):
        _, image = structural_similarity_index_measure(
            x.detach().float(),
            y.detach().float(),
            data_range=1.0,
            reduction="none",
            return_full_image=True,
        )
        whole = image[..., _SSIM_BORDER:-_SSIM_BORDER, _SSIM_BORDER:-_SSIM_BORDER]
        parts.append(whole.flatten(1).mean(1, dtype=torch.float64).cpu())
    return torch.cat(parts).clamp_(-1.0, 1.0)


def mean_of(
    values: PerImage,
    rng: Rng,
    *,
    unit: str,
    support: tuple[float, float] = (-math.inf, math.inf),
    assumptions: tuple[str, ...] = (),
) -> Quantity:
    """The mean over images with its 95 % BCa bootstrap interval over images. Kind: measured.

    One image says nothing about others: its interval is `support`, the range values can take.

    Raises:
        BadData: if there are no values or one is NaN.
    """
    data = values.detach().double().cpu().numpy()
    if not len(data):
        raise BadData("no images to average over")
    if torch.isnan(values).any():
        raise BadData("per-image values hold NaN: nothing can be averaged")
    if len(data) == 1:
        value, (low, high) = float(data[0]), support
    else:
        interval = mean_interval(data, rng)
        value, low, high = interval.value, interval.low, interval.high
    return Quantity(
        value=value,
        low=min(low, value),
        high=max(high, value),
        unit=unit,
        kind=Kind.MEASURED,
        n=len(data),
        assumptions=("images are independent draws", *assumptions),
    )


def mse(reconstruction: Targets, original: Originals, rng: Rng) -> Quantity:
    """Mean over images of `mse_per_image`, per value.

    Example:
        >>> import torch
        >>> from splitveil.rng import Rng
        >>> x = torch.zeros(4, 1, 2, 2)
        >>> print(mse(x + 0.1, x, Rng(0)))
        0.01 mse per value

    Raises:
        BadData: as `mse_per_image`.
    """
    errors = mse_per_image(reconstruction, original)
    return mean_of(errors, rng, unit="mse per value", support=(0.0, math.inf))


def psnr(reconstruction: Targets, original: Originals, rng: Rng) -> Quantity:
    """Mean over images of `psnr_per_image`, in dB.

    At least the PSNR of the mean error (Jensen); infinite as soon as one image is exact.

    Raises:
        BadData: as `mse_per_image`.
    """
    values = psnr_per_image(reconstruction, original)
    return mean_of(values, rng, unit="dB", assumptions=("mean of per-image PSNR, peak 1",))


def psnr_of_mean(reconstruction: Targets, original: Originals, rng: Rng) -> Quantity:
    """PSNR of the mean error over images, -10 log10(mean mse), in dB.

    Raises:
        BadData: as `mse_per_image`.
    """
    error = mse(reconstruction, original, rng)
    decibels = [-10 * math.log10(v) if v > 0 else math.inf for v in (error.low, error.value)]
    lowest = -10 * math.log10(error.high) if error.high > 0 else math.inf
    return Quantity(
        value=decibels[1],
        low=lowest,
        high=decibels[0],
        unit="dB",
        kind=Kind.MEASURED,
        n=error.n,
        assumptions=("images are independent draws", "PSNR of the mean error, peak 1"),
    )


def ssim(reconstruction: Images, original: Originals, rng: Rng) -> Quantity:
    """Mean over images of `ssim_per_image`, without unit.

    Raises:
        BadData: as `ssim_per_image`.
    """
    values = ssim_per_image(reconstruction, original)
    return mean_of(values, rng, unit="ssim", support=(-1.0, 1.0), assumptions=("peak 1",))
