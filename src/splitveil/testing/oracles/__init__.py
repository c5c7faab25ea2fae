"""Problems whose answers are known in closed form, to prove measures and attacks on."""

from splitveil.testing.oracles.finite_alphabet import FiniteAlphabet
from splitveil.testing.oracles.finite_gallery import FiniteGallery
from splitveil.testing.oracles.gaussian_mixture import GaussianMixture
from splitveil.testing.oracles.invertible_net import InvertibleNet
from splitveil.testing.oracles.linear_gaussian import LinearGaussian
from splitveil.testing.oracles.lloyd_max import LloydMax
from splitveil.testing.oracles.random_relu import RandomReLU
from splitveil.testing.oracles.recodings import (
    Bijection,
    RecodedRelease,
    harmless_recodings,
    of_other_images,
    with_a_value_appended,
)
from splitveil.testing.oracles.uniform_quantiser import QuantisedUniform

__all__ = [
    "Bijection",
    "FiniteAlphabet",
    "FiniteGallery",
    "GaussianMixture",
    "InvertibleNet",
    "LinearGaussian",
    "LloydMax",
    "QuantisedUniform",
    "RandomReLU",
    "RecodedRelease",
    "harmless_recodings",
    "of_other_images",
    "with_a_value_appended",
]
