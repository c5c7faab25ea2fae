"""Structural similarity over several scales."""

import torch
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.measures.checks import Originals, finite, same_shape
from splitveil.measures.reconstruction import mean_of
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.shapes import Images, PerImage

_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW = 11
_CHUNK = 64


def ms_ssim_per_image(reconstruction: Images, original: Originals, *, scales: int = 5) -> PerImage:
    """Multi-scale structural similarity of each image (Wang, Simoncelli and Bovik 2003).

    prod_j relu(contrast-structure_j)^w_j over all scales but the last, times relu(ssim_last)^w,
    each scale half the size of the one before; w = (.0448, .2856, .3001, .2363, .1333). With fewer
    than five scales the first weights are used, divided by their sum: such numbers compare with
    none of another count. A scale whose structure is opposite makes the whole 0. Windows of 11
    pixels, sd 1.5; at the last scale they reach over the border, mirrored.

    Args:
        reconstruction: images with values in [0, 1].
        original: the images they stand for, of the same shape.
        scales: 2 to 5. The shorter side must have 176 pixels for 5, 99 for 4, 44 for 3, 22 for 2.

    Returns:
        Float64 in [0, 1], without unit.

    Raises:
        BadData: as `mse_per_image`, or if the images are too small for so many scales.
        BadPlan: if `scales` is not 2 to 5.
    """
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    if not 2 <= scales <= len(_WEIGHTS):
        raise BadPlan(f"MS-SSIM has 2 to {len(_WEIGHTS)} scales, got {scales}; one scale is ssim")
    same_shape(reconstruction, original)
    finite(reconstruction, "reconstructions")
    finite(original, "originals")
    side = min(original.shape[-2:])
    fitting = [count for count in range(2, len(_WEIGHTS) + 1) if side >= _least_side(count)]
    if scales not in fitting:
        instead = f"scales={fitting[-1]} fits" if fitting else "use ssim or mse"
        raise BadData(
            f"MS-SSIM with {scales} scales needs sides of at least {_least_side(scales)} pixels, "
            f"got {original.shape[-2]}x{original.shape[-1]}: {instead}"
        )
    total = sum(_WEIGHTS[:scales])
    parts: list[Tensor] = []
    for x, y in zip(reconstruction.split(_CHUNK), original.split(_CHUNK), strict=True):
        value = multiscale_structural_similarity_index_measure(
            x.detach().float(),
            y.detach().float(),
            data_range=1.0,
            reduction="none",
            betas=tuple(weight / total for weight in _WEIGHTS[:scales]),
            normalize="relu",
        )
        parts.append(value.double().reshape(-1).cpu())
    return torch.cat(parts).clamp_(0.0, 1.0)


def ms_ssim(reconstruction: Images, original: Originals, rng: Rng, *, scales: int = 5) -> Quantity:
    """Mean over images of `ms_ssim_per_image`, without unit. Kind: measured.

    Raises:
        BadData: as `ms_ssim_per_image`.
        BadPlan: if `scales` is not 2 to 5.
    """
    values = ms_ssim_per_image(reconstruction, original, scales=scales)
    words = ("peak 1", f"{scales} scales")
    return mean_of(values, rng, unit="ms-ssim", support=(0.0, 1.0), assumptions=words)


def _least_side(scales: int) -> int:
    """Where every scale has a whole window, and torchmetrics agrees."""
    return int(_WINDOW * max(2 ** (scales - 1), (scales - 1) ** 2))
