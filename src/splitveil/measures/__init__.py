"""Numbers with intervals, units and kinds: what an attack got, what a cut keeps, what is proved."""

from splitveil.measures.leakage import leakage, tail_leakage
from splitveil.measures.reconstruction import (
    mean_of,
    mse,
    mse_per_image,
    psnr,
    psnr_of_mean,
    psnr_per_image,
    ssim,
    ssim_per_image,
)
from splitveil.measures.utility import accuracy, agreement, share_of

__all__ = [
    "accuracy",
    "agreement",
    "leakage",
    "mean_of",
    "mse",
    "mse_per_image",
    "psnr",
    "psnr_of_mean",
    "psnr_per_image",
    "share_of",
    "ssim",
    "ssim_per_image",
    "tail_leakage",
]
