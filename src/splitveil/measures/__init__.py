"""Numbers with intervals, units and kinds: what an attack got, what a cut keeps, what is proved.

| measure | of | kind |
|---|---|---|
| `mse`, `psnr`, `psnr_of_mean`, `ssim` | reconstructions and originals | measured |
| `accuracy`, `agreement` | the network's answers | measured |
| `leakage`, `tail_leakage` | errors of an attack and of its floor | measured |
| `radius` | streaming class moments of a cut | proxy |
| `genie_bound`, `genie_curve`, `genie_stream` | images, features, noise | theorem at confidence |
| `noise_needed` | the same, for a family of releases | noise and the theorem it buys |
| `payload_bound`, `capacity_bound` | a release | theorem, upper |
"""

from splitveil.measures.genie import (
    GalleryBlock,
    GeniePoint,
    genie_bound,
    genie_curve,
    genie_stream,
)
from splitveil.measures.information import capacity_bound, payload_bound
from splitveil.measures.leakage import leakage, tail_leakage
from splitveil.measures.noise_needed import (
    NoiseNeeded,
    noise_needed,
)
from splitveil.measures.radius import radius
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
    "GalleryBlock",
    "GeniePoint",
    "NoiseNeeded",
    "accuracy",
    "agreement",
    "capacity_bound",
    "genie_bound",
    "genie_curve",
    "genie_stream",
    "leakage",
    "mean_of",
    "mse",
    "mse_per_image",
    "noise_needed",
    "payload_bound",
    "psnr",
    "psnr_of_mean",
    "psnr_per_image",
    "radius",
    "share_of",
    "ssim",
    "ssim_per_image",
    "tail_leakage",
]
