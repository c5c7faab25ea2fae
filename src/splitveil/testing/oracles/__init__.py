"""Problems whose answers are known in closed form, to prove measures and attacks on."""

from splitveil.testing.oracles.finite_alphabet import FiniteAlphabet
from splitveil.testing.oracles.gaussian_mixture import GaussianMixture
from splitveil.testing.oracles.linear_gaussian import LinearGaussian
from splitveil.testing.oracles.uniform_quantiser import QuantisedUniform

__all__ = ["FiniteAlphabet", "GaussianMixture", "LinearGaussian", "QuantisedUniform"]
