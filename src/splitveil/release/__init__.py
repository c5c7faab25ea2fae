"""What is done to the features before they leave the device.

| written | recipe | density | bits a value |
|---|---|---|---|
| `none` | `Identity` | none | 32 |
| `half` | `HalfPrecision` | none | 16 |
| `gaussian(sigma=0.5)` | `GaussianNoise` | exact | 32 |
| `laplace(sigma=0.5)` | `LaplaceNoise` | exact | 32 |
| `gaussian-dp(epsilon=1)` | `GaussianPrivacy` | exact | 32 |
| `laplace-dp(epsilon=1)` | `LaplacePrivacy` | exact | 32 |
| `shaped(rate=0.1)` | `ShapedNoise` | exact | 32 |
| `topk(keep=0.1)` | `TopK` | none | 1 + 32 keep |
| `dropout(rate=0.3)` | `Dropout` | none | 32 |
| `shuffle-tokens(tokens=17)` | `ShuffledTokens` | none | 32 |
| `quantise(bits=8)` | `UniformQuantiser` | none | 1-8 |
| `sigmoid` | `Sigmoid`, for scores of attributes | none | 32 |
| `softmax` | `Softmax`, for class scores | none | 32 |
| `dither(bits=4)` | `DitheredQuantiser` | exact | 1-8 |
| `stored(file=release.safetensors)` | `Stored` | of what is stored | of what is stored |
| `gaussian(sigma=0.1)+quantise(bits=8)` | `Chain` | of its noisy stage | of its last stage |
"""

from splitveil.release.base import Envelope, Release, ReleaseRecipe
from splitveil.release.chain import Chain, ChainedRelease
from splitveil.release.coding import Coder, FloatCoder, Lattice, LatticeCoder, coded_bits
from splitveil.release.dithered import DitheredFeatures, DitheredQuantiser
from splitveil.release.fisher import fisher_variances
from splitveil.release.gaussian import ClippedGaussian, GaussianNoise
from splitveil.release.half import HalfPrecision
from splitveil.release.identity import Identity
from splitveil.release.laplace import ClippedLaplace, LaplaceNoise
from splitveil.release.parse import parse_release
from splitveil.release.pooled import PooledNoise
from splitveil.release.privacy import (
    GaussianPrivacy,
    LaplacePrivacy,
    gaussian_delta,
    gaussian_mu,
)
from splitveil.release.shaped import (
    ShapedGaussian,
    ShapedNoise,
    powered_variances,
    shaped_variances,
)
from splitveil.release.shuffled import ShuffledTokens
from splitveil.release.sigmoid import Sigmoid
from splitveil.release.softmax import Softmax
from splitveil.release.sparse import Dropout, TopK
from splitveil.release.stored import Stored, release_bytes
from splitveil.release.uniform import RoundedFeatures, UniformQuantiser

__all__ = [
    "Chain",
    "ChainedRelease",
    "ClippedGaussian",
    "ClippedLaplace",
    "Coder",
    "DitheredFeatures",
    "DitheredQuantiser",
    "Dropout",
    "Envelope",
    "FloatCoder",
    "GaussianNoise",
    "GaussianPrivacy",
    "HalfPrecision",
    "Identity",
    "LaplaceNoise",
    "LaplacePrivacy",
    "Lattice",
    "LatticeCoder",
    "PooledNoise",
    "Release",
    "ReleaseRecipe",
    "RoundedFeatures",
    "ShapedGaussian",
    "ShapedNoise",
    "ShuffledTokens",
    "Sigmoid",
    "Softmax",
    "Stored",
    "TopK",
    "UniformQuantiser",
    "coded_bits",
    "fisher_variances",
    "gaussian_delta",
    "gaussian_mu",
    "parse_release",
    "powered_variances",
    "release_bytes",
    "shaped_variances",
]
